/* The request that made an image, out of the image's file. */
#ifndef HEP_SUPERVISOR_CTL_RECIPE_H
#define HEP_SUPERVISOR_CTL_RECIPE_H

#include "common/status.h"

#include <jansson.h>

/* What an image file holds as Heptad's recipe: the text chunk `heptad` of a PNG, the XMP packet of a JPEG or WebP; a
   new object. NOT_FOUND: the file has none; BAD_FILE: it is damaged. */
enum hep_status ctl_recipe_parse(const void *data, size_t size, json_t **recipe, struct hep_error *error);
/* {workflow_id, configuration, made_with}: the first two are what workflow.execute takes, made_with is what the image
   was made with beside them (version, fingerprints, dtype). format: of the file, as the workflows call it. */
json_t *ctl_recipe_request(const json_t *recipe, const char *format);
/* Both, of a file of at most CTL_RECIPE_FILE_MAX bytes. */
enum { CTL_RECIPE_FILE_MAX = 1 << 30 };
enum hep_status ctl_recipe_read(const char *path, json_t **request, struct hep_error *error);

#endif
