/*
 * The kinds of common/model_kinds.def as heptad-model knows them: what a scan reads of each, and which network a kind
 * is. Called by the catalogue.
 */
#ifndef HEP_INSTRUCTORS_MODEL_KINDS_H
#define HEP_INSTRUCTORS_MODEL_KINDS_H

#include "instructors/model/catalogue.h"

/* Reads into the entry, whose kind and place are known, everything but weights' values. The error is the entry's
   problem. */
enum hep_status kinds_read(const struct catalogue *catalogue, struct catalogue_entry *entry, struct hep_error *error);
/* The component that a kind is ("controlnet"); NULL for a whole model, and for what is no network. */
const char *kinds_component(enum hep_model_kind kind);
/* What lies at path, by a file's keys or a folder's class: a checkpoint if nothing is known. */
enum hep_model_kind kinds_of(const char *path, bool is_folder);

#endif
