# The system's installation, and the Debian package: `cpack -G DEB` in the build folder makes heptad_<version>_<arch>.deb and
# its debug symbols, heptad-dbgsym. Included last: it sees every program that is installed.
# An installation in /usr is the system's: its configuration lies in /etc, and it has what starts it. Any other prefix has
# its etc/ in it (supervisor/proc/places.c finds both).
install(CODE "
  if(CMAKE_INSTALL_PREFIX STREQUAL \"/usr\")
    set(etc /etc)
    file(INSTALL DESTINATION /etc/init.d TYPE PROGRAM FILES \"${CMAKE_SOURCE_DIR}/etc/init.d/heptad\")
    file(INSTALL DESTINATION /etc TYPE FILE FILES \"${CMAKE_SOURCE_DIR}/etc/default\" \"${CMAKE_SOURCE_DIR}/etc/logrotate.d\")
    file(INSTALL DESTINATION /usr/lib/systemd/system TYPE FILE FILES \"${CMAKE_SOURCE_DIR}/etc/systemd/heptad.service\")
    file(INSTALL DESTINATION /usr/lib TYPE FILE FILES \"${CMAKE_SOURCE_DIR}/etc/sysusers.d\" \"${CMAKE_SOURCE_DIR}/etc/tmpfiles.d\")
  else()
    set(etc \${CMAKE_INSTALL_PREFIX}/etc)
  endif()
  file(INSTALL DESTINATION \${etc}/heptad TYPE FILE FILES \"${CMAKE_SOURCE_DIR}/etc/workflows\" \"${CMAKE_SOURCE_DIR}/etc/heptad.conf\")
")

set(HEP_MAINTAINER "The Heptad maintainers <maintainers@heptad.invalid>")
string(TIMESTAMP HEP_DATE "%a, %d %b %Y %H:%M:%S +0000" UTC) # SOURCE_DATE_EPOCH sets it
set(HEP_PACKAGE_DIR ${CMAKE_BINARY_DIR}/package)
configure_file(${CMAKE_SOURCE_DIR}/packaging/debian/changelog.in ${HEP_PACKAGE_DIR}/changelog @ONLY)
file(GLOB workflows CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}/etc ${CMAKE_SOURCE_DIR}/etc/workflows/*.json)
list(TRANSFORM workflows PREPEND /etc/heptad/)
string(JOIN "\n" conffiles /etc/default/heptad /etc/heptad/heptad.conf ${workflows} /etc/init.d/heptad /etc/logrotate.d/heptad "")
file(WRITE ${HEP_PACKAGE_DIR}/conffiles "${conffiles}")
set(HEP_DEBIAN ${CMAKE_SOURCE_DIR}/packaging/debian)

set(CPACK_GENERATOR DEB)
set(CPACK_SET_DESTDIR ON) # what lies in /etc is given by its whole path
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_NAME heptad)
set(CPACK_PACKAGE_CONTACT ${HEP_MAINTAINER})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "image-generation server that does not lose work")
set(CPACK_PACKAGE_DESCRIPTION "Heptad makes images from text with Stable Diffusion models.
It runs as one supervisor and seven processes that may crash, hang or be
killed at any time without changing a byte of the finished image. Clients
ask it over HTTP, its operator with heptctl. A small model is included.")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION graphics)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser, init-system-helpers (>= 1.54~), passwd, sysvinit-utils (>= 3.05~)")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "ca-certificates, python3") # webhooks to https; pickle-to-safetensors
set(CPACK_DEBIAN_PACKAGE_SUGGESTS logrotate)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${HEP_DEBIAN}/postinst ${HEP_DEBIAN}/prerm ${HEP_DEBIAN}/postrm ${HEP_PACKAGE_DIR}/conffiles)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_DEBUGINFO_PACKAGE ON) # strips the programs; their symbols are a package of its own
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_SOURCE_DIR}/cmake/package-finish.cmake)
set(CPACK_PROJECT_CONFIG_FILE ${HEP_PACKAGE_DIR}/places.cmake)
file(WRITE ${HEP_PACKAGE_DIR}/places.cmake "set(HEP_DEBIAN \"${HEP_DEBIAN}\")\nset(HEP_PACKAGE_DIR \"${HEP_PACKAGE_DIR}\")\n")
include(CPack)
