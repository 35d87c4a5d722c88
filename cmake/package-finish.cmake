# Run by cpack when everything is in the staging folder: what a Debian package has beyond an installation. Man pages are
# compressed, each program has one, the engineers' tools stay out.
set(usr ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/usr)
file(REMOVE ${usr}/bin/hep-bench ${usr}/bin/hep-eval)

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

foreach(domain device model conditioning scheduler inference postprocessing communication)
  file(WRITE ${usr}/share/man/man8/heptad-${domain}.8 ".so man8/heptad.8\n")
endforeach()
file(GLOB pages ${usr}/share/man/man*/*.[1-8])
run(gzip -9n ${pages})

file(COPY ${HEP_DEBIAN}/copyright ${HEP_PACKAGE_DIR}/changelog DESTINATION ${usr}/share/doc/heptad)
run(gzip -9n ${usr}/share/doc/heptad/changelog)
file(GLOB_RECURSE files LIST_DIRECTORIES false ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/*)
foreach(file ${files})
  if(NOT file MATCHES "/(bin|sbin|init\\.d)/|/pickle-to-safetensors$")
    run(chmod 644 ${file})
  endif()
endforeach()
