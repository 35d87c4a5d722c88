/* Every limit that Heptad puts on what it takes from outside, in one place. Sizes in bytes, times in milliseconds. */
#ifndef HEP_COMMON_LIMITS_H
#define HEP_COMMON_LIMITS_H

#define HEP_FRAME_MAX          (1u << 20)  /* one message on any socket                                  */
#define HEP_FRAME_DEPTH_MAX    16          /* nesting of arrays and maps in a message                    */
#define HEP_FRAME_OBJECTS_MAX  65536       /* values in one message                                      */
#define HEP_REPORT_MAX         (128u << 10) /* one report of an instructor (SEQPACKET)                   */
#define HEP_JSON_MAX           (1u << 20)  /* one JSON text from a client                                */
#define HEP_JSON_DEPTH_MAX     12          /* room for the message around it and the lists that show it  */
#define HEP_PROMPT_MAX         16384       /* bytes of a prompt                                          */
#define HEP_TENSOR_RANK_MAX    6           /* dimensions of a tensor                                     */
#define HEP_SEGMENT_NAME_MAX   96          /* with NUL                                                   */
#define HEP_SESSION_ID_MAX     40          /* with NUL                                                   */
#define HEP_NAME_MAX           64          /* names of models, schedulers, domains, operations, with NUL */
#define HEP_PATH_MAX           4096
#define HEP_IMAGE_SIDE_MIN     8           /* pixels                                                     */
#define HEP_IMAGE_SIDE_MAX     4096        /* pixels                                                     */
#define HEP_IMAGES_MAX         64          /* images of one request                                      */
#define HEP_STEPS_MAX          1000        /* denoising steps                                            */
#define HEP_QUEUE_MAX          10000       /* sessions that wait                                         */
#define HEP_OPERATIONS_IN_FLIGHT_MAX 64    /* per domain                                                 */
#define HEP_HTTP_BODY_MAX      (2u << 20)  /* read and refused with 413 past HEP_JSON_MAX; past this, cut off */
#define HEP_HTTP_CONNECTIONS_MAX 256       /* more wait in the backlog                                   */
#define HEP_HTTP_PER_ADDRESS_MAX 192       /* of one IP address: more are closed at once                 */
#define HEP_HTTP_CROWD         160         /* from so many on, whoever asks nothing makes room …         */
#define HEP_HTTP_CROWD_MS      1000        /* … after so long                                            */
#define HEP_HTTP_HEADER_MS     10000       /* from accept to the end of the first header                 */
#define HEP_HTTP_REQUEST_MS    30000       /* from accept, or the answer before, to a request's last byte */
#define HEP_HTTP_TIMEOUT_S     30          /* without a byte, either way                                 */
#define HEP_SAFETENSORS_HEADER_MAX (100u << 20)
#define HEP_CONFIG_JSON_MAX    (1u << 20)  /* a config.json of a model                                   */
#define HEP_TOKENIZER_FILE_MAX (16u << 20) /* vocab.json, merges.txt                                     */

#endif
