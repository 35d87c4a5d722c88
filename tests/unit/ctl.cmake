# heptctl: command line, what it writes, pictures, the control socket against a small server, generated pages.
set(here ${CMAKE_CURRENT_LIST_DIR})
hep_test(test_ctl_arguments SOURCES ${here}/test_ctl_arguments.c LIBS hep_ctl LABELS unit)
hep_test(test_ctl_text SOURCES ${here}/test_ctl_text.c LIBS hep_ctl LABELS unit)
hep_test(test_ctl_views SOURCES ${here}/test_ctl_views.c LIBS hep_ctl LABELS unit)
hep_test(test_ctl_picture SOURCES ${here}/test_ctl_picture.c LIBS hep_ctl LABELS unit)
hep_test(test_ctl_client SOURCES ${here}/test_ctl_client.c LIBS hep_ctl LABELS unit TIMEOUT 60)
hep_test(test_ctl_pages SOURCES ${here}/test_ctl_pages.c LIBS hep_ctl_pages LABELS unit)
hep_test(test_ctl_symbols SOURCES ${here}/test_ctl_symbols.c LIBS hep_ctl LABELS unit)
