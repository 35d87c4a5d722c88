# The networks against the reference data: at the machine's ISA level, at every lower one, and in bf16 where it can be.
hep_test(test_networks SOURCES ${CMAKE_SOURCE_DIR}/tests/golden/test_networks.c LIBS hep_eval OpenMP::OpenMP_C
  ARGS f32 LABELS golden)
hep_test(test_networks_clip SOURCES ${CMAKE_SOURCE_DIR}/tests/golden/test_networks_clip.c LIBS hep_eval LABELS golden)
hep_test(test_safety SOURCES ${CMAKE_SOURCE_DIR}/tests/golden/test_safety.c ${CMAKE_SOURCE_DIR}/tests/support/golden_tensors.c
  LIBS hep_models hep_nn_cpu m LABELS golden)
hep_test(test_controlnet SOURCES ${CMAKE_SOURCE_DIR}/tests/golden/test_controlnet.c ${CMAKE_SOURCE_DIR}/tests/support/golden_tensors.c
  LIBS hep_eval ARGS f32 LABELS golden)
hep_test_levels(test_controlnet TIMEOUT 120 LABELS release-only)
hep_test(test_lora_goldens SOURCES ${CMAKE_SOURCE_DIR}/tests/golden/test_lora.c LIBS hep_eval LABELS golden)
set_tests_properties(test_networks test_networks_clip test_controlnet test_lora_goldens test_safety PROPERTIES ENVIRONMENT "OMP_WAIT_POLICY=passive")
hep_test_levels(test_networks TIMEOUT 240 LABELS release-only)
hep_test_levels(test_networks_clip TIMEOUT 120 LABELS release-only)
hep_test_levels(test_lora_goldens TIMEOUT 120 LABELS release-only)

# The tool itself: what it prints is checked by its exit status.
set(HEP_GOLDENS ${CMAKE_SOURCE_DIR}/tests/golden/data)
add_test(NAME hep_eval_check COMMAND hep-eval unet ${HEP_GOLDENS}/models/tiny-sd15
  ${HEP_GOLDENS}/goldens/unet/tiny-sd15.safetensors ${CMAKE_BINARY_DIR}/tests/hep-eval-out.safetensors --check)
add_test(NAME hep_eval_stages COMMAND hep-eval vae_decoder ${HEP_GOLDENS}/models/tiny-sd15
  ${HEP_GOLDENS}/goldens/vae/tiny-sd15.safetensors --case square --check
  --stages ${HEP_GOLDENS}/goldens/vae/tiny-sd15.steps.safetensors)
add_test(NAME hep_eval_upscaler COMMAND hep-eval upscaler ${HEP_GOLDENS}/models/tiny-esrgan/tiny-esrgan-x4-old-layout.safetensors
  ${HEP_GOLDENS}/goldens/upscaler/tiny-esrgan-x4.safetensors --check)
add_test(NAME hep_eval_plan COMMAND hep-eval unet ${CMAKE_SOURCE_DIR}/share/models/emoji --print-plan --shape n2h16w16t77)
add_test(NAME hep_eval_tolerance COMMAND sh -c "\"$0\" \"$@\" --check --tolerance 1e-12; test $? -eq 1" $<TARGET_FILE:hep-eval>
  unet ${HEP_GOLDENS}/models/tiny-sd15 ${HEP_GOLDENS}/goldens/unet/tiny-sd15.safetensors)
add_test(NAME hep_eval_wrong_file COMMAND sh -c "\"$0\" \"$@\"; test $? -eq 3" $<TARGET_FILE:hep-eval>
  unet ${HEP_GOLDENS}/models/tiny-sd15 ${HEP_GOLDENS}/goldens/vae/tiny-sd15.safetensors --check)
# hep-eval's other two subjects, by what they print: anyone could do the same with the command and Python's own library.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME hep_eval_scheduler COMMAND Python3::Interpreter ${CMAKE_SOURCE_DIR}/tests/golden/replay_scheduler.py
  $<TARGET_FILE:hep-eval> ${HEP_GOLDENS}/goldens/schedulers)
add_test(NAME hep_eval_tokenize COMMAND Python3::Interpreter ${CMAKE_SOURCE_DIR}/tests/golden/check_tokenize.py
  $<TARGET_FILE:hep-eval> ${HEP_GOLDENS}/models/tiny-sd15 ${HEP_GOLDENS}/goldens/tokenizer.json)
set_tests_properties(hep_eval_tokenize PROPERTIES LABELS golden TIMEOUT 60)
set_tests_properties(hep_eval_scheduler PROPERTIES LABELS "golden;release-only" TIMEOUT 300) # a thousand processes
# At the portable level every higher kernel was passed over, and so was what oneDNN offers for a convolution to one channel.
add_test(NAME hep_eval_why COMMAND sh -c "\"$0\" \"$@\" | grep -q 'not onednn:.*gemm.*: plain GEMM: it allocates' && \
  \"$0\" \"$@\" | grep -q 'not hep_attention_f32__avx2_6x16: it needs ISA level avx2, this process runs at portable'"
  $<TARGET_FILE:hep-eval> unet ${CMAKE_SOURCE_DIR}/share/models/emoji --print-plan=why)
set_tests_properties(hep_eval_why PROPERTIES LABELS golden TIMEOUT 60 ENVIRONMENT "HEP_ISA=portable")
# How the published networks are planned, kernel by kernel, at each ISA level of this machine.
add_test(NAME update-plans COMMAND ${CMAKE_SOURCE_DIR}/scripts/update-plans --build ${CMAKE_BINARY_DIR} --check)
set_tests_properties(update-plans PROPERTIES LABELS "golden;release-only" TIMEOUT 120 SKIP_RETURN_CODE 77)
add_test(NAME hep_bench_plans COMMAND hep-bench unet --arch sdxl --plan-only --json)
set_tests_properties(hep_eval_check hep_eval_upscaler hep_eval_stages hep_eval_plan hep_eval_tolerance hep_eval_wrong_file hep_bench_plans
  PROPERTIES LABELS golden TIMEOUT 60 ENVIRONMENT "OMP_WAIT_POLICY=passive")
# Single files give what their folders give: the goldens are the folders'.
foreach(case "unet tiny-sd15 unet/tiny-sd15" "unet tiny-sd2 unet/tiny-sd2" "unet tiny-sdxl unet/tiny-sdxl"
    "vae_decoder tiny-sd15 vae/tiny-sd15" "vae_encoder tiny-sdxl vae/tiny-sdxl" "text_encoder tiny-sd2 text/tiny-sd2.text_encoder"
    "text_encoder_2 tiny-sdxl text/tiny-sdxl.text_encoder_2")
  separate_arguments(case)
  list(GET case 0 network)
  list(GET case 1 model)
  list(GET case 2 golden)
  add_test(NAME hep_eval_file_${network}_${model} COMMAND hep-eval ${network} ${HEP_GOLDENS}/single-file/${model}.safetensors
    ${HEP_GOLDENS}/goldens/${golden}.safetensors --check)
  set_tests_properties(hep_eval_file_${network}_${model} PROPERTIES LABELS golden TIMEOUT 60 ENVIRONMENT "OMP_WAIT_POLICY=passive")
endforeach()
