/* Every limit that Heptad puts on what it takes from outside, in one place. Sizes in bytes, times in milliseconds. */
#ifndef HEP_COMMON_LIMITS_H
#define HEP_COMMON_LIMITS_H

#define HEP_FRAME_MAX                (1u << 20)   /* one message on any socket                                  */
#define HEP_FRAME_DEPTH_MAX          16           /* nesting of arrays and maps in a message; see docs/rpc.md   */
#define HEP_FRAME_OBJECTS_MAX        65536        /* values in one message, keys counted; see docs/rpc.md       */
#define HEP_REPORT_MAX               (128u << 10) /* one report of an instructor (SEQPACKET)                   */
#define HEP_JSON_MAX                 (1u << 20)   /* one JSON text from a client                                */
#define HEP_JSON_DEPTH_MAX           8            /* room for the message around it and the lists that show it  */
#define HEP_PROMPT_MAX               16384        /* bytes of a prompt                                          */
#define HEP_TENSOR_RANK_MAX          6            /* dimensions of a tensor                                     */
#define HEP_SEGMENT_NAME_MAX         96           /* with NUL                                                   */
#define HEP_SESSION_ID_MAX           40           /* with NUL                                                   */
#define HEP_REQUEST_ID_MAX           80           /* with NUL                                                   */
#define HEP_NAME_MAX                 64           /* names of models, schedulers, domains, operations, with NUL */
#define HEP_PATH_MAX                 4096
#define HEP_IMAGE_SIDE_MIN           8            /* pixels                                                     */
#define HEP_IMAGE_SIDE_MAX           4096         /* pixels                                                     */
#define HEP_IMAGES_MAX               64           /* images of one request                                      */
#define HEP_STEPS_MAX                1000         /* denoising steps                                            */
#define HEP_QUEUE_MAX                10000        /* sessions that wait                                         */
#define HEP_OPERATIONS_IN_FLIGHT_MAX 64           /* per domain                                                 */
#define HEP_HTTP_BODY_MAX            (2u << 20)   /* read and refused with 413 past HEP_JSON_MAX; past this, cut off */
#define HEP_HTTP_CONNECTIONS_MAX     256          /* more wait in the backlog                                   */
#define HEP_HTTP_PER_ADDRESS_MAX     192          /* of one IP address: more are closed at once                 */
#define HEP_HTTP_CROWD               160          /* from so many on, whoever asks nothing makes room …         */
#define HEP_HTTP_CROWD_MS            1000         /* … after so long                                            */
#define HEP_HTTP_HEADER_MS           10000        /* from accept to the end of the first header                 */
#define HEP_HTTP_REQUEST_MS          30000        /* from accept, or the answer before, to a request's last byte */
#define HEP_HTTP_TIMEOUT_S           30           /* without a byte, either way                                 */
#define HEP_HTTP_ANSWER_MS           60000        /* the supervisor may take so long before 504                 */
#define HEP_HTTP_WAIT_MAX_S          600          /* that a request may wait for its session to end             */
#define HEP_HTTP_STREAM_MAX_S        86400        /* after which a stream of events may be told to end          */
#define HEP_EVENTS_SUBSCRIBERS_MAX   64           /* clients of GET /api/events                                 */
#define HEP_EVENT_TYPES_MAX          255          /* bytes of a filter by names                                 */
#define HEP_EVENTS_BACKLOG           (256 << 10)  /* unread text of one of them; past it the stream ends        */
#define HEP_CALLS_MAX                1024         /* requests in hand on the front and the control socket       */
#define HEP_CONNECTIONS_MAX          64           /* of the control socket                                      */
#define HEP_CONNECTION_CALLS_MAX     32           /* requests in hand of one of them                            */
#define HEP_CONNECTION_BACKLOG       (4 << 20)    /* bytes that wait for its slow reader; more drops it         */
#define HEP_FRONT_PARALLEL           128          /* requests in hand on the front socket                       */
#define HEP_WAIT_MAX_MS              60000        /* longest session.wait and events.poll                       */
#define HEP_LOG_TAIL_MAX             (256 << 10)  /* the end of the log that log.tail reads                     */
#define HEP_LOG_SEARCH_MAX           (16 << 20)   /* of the log that is searched for one session's lines        */
#define HEP_IDEMPOTENCY_KEY_MAX      255          /* without NUL                                                */
#define HEP_URL_MAX                  2048         /* bytes of a callback_url                                    */
#define HEP_WEBHOOKS_MAX             10000        /* webhooks that wait ; with more, no callback_url is accepted */
#define HEP_WEBHOOK_BODY_MAX         (512 << 10)  /* body of one: what is longer goes without its lists         */
#define HEP_WORKFLOW_FILE_MAX        (256 << 10)  /* a workflow template                                        */
#define HEP_WORKFLOWS_MAX            256          /* of them in a folder                                        */
#define HEP_INPUT_MAX                (32u << 20)  /* an image that a client gives                               */
#define HEP_INPUT_PART_MAX           (512u << 10) /* of it, in one message                                      */
#define HEP_INPUT_UPLOADS_MAX        64           /* on their way at the same time                              */
#define HEP_INPUT_IDLE_MS            60000        /* without a part, after which one makes room for another     */
#define HEP_INPUT_KEPT_MS            3600000      /* that an image is kept while no session and no batch has it */
#define HEP_INPUTS_BYTES_MAX         (8ull << 30) /* all of them                                                */
#define HEP_INPUT_PIXELS_MAX         (1 << 26)    /* of an image that is opened                                 */
#define HEP_SAFETENSORS_HEADER_MAX   (100u << 20)
#define HEP_SHARDS_MAX               256         /* files of one component                                     */
#define HEP_MODELS_MAX               2048        /* models and files of all kinds that are listed              */
#define HEP_MODEL_DEPTH_MAX          4           /* folders below the folder of a kind                         */
#define HEP_LORAS_MAX                16          /* LoRAs of one request                                       */
#define HEP_LORA_RANK_MAX            4096        /* of one update                                              */
#define HEP_LORA_WEIGHT_MAX          100         /* of one LoRA, either way                                    */
#define HEP_EMBEDDINGS_MAX           32          /* textual inversions of one request                           */
#define HEP_CONFIG_FILE_MAX          (1u << 20)  /* heptad.conf                                                */
#define HEP_CONFIG_LINE_MAX          16384u      /* a line of it                                               */
#define HEP_CONFIG_JSON_MAX          (1u << 20)  /* a config.json of a model                                   */
#define HEP_TOKENIZER_FILE_MAX       (16u << 20) /* vocab.json, merges.txt                                     */
#define HEP_TOKENIZER_IDS_MAX        (1 << 20)   /* ids are below this                                         */
#define HEP_TOKENIZER_SPECIALS_MAX   64          /* special and added tokens                                   */
#define HEP_TOKEN_BYTES_MAX          1024        /* text of one token                                          */
#define HEP_CHUNKS_MAX               256         /* pieces of 75 tokens of one prompt                          */
#define HEP_PROMPT_VARIANTS_MAX      256         /* different things that one prompt says as steps go by       */
#define HEP_IMAGE_FILE_SIDE_MAX      (16384 - 1) /* pixels; WebP's limit, kept for all so that a format may change */
#define HEP_PNG_TEXTS_MAX            64          /* text chunks of a PNG that are looked at                    */
#define HEP_PNG_CHUNK_MAX            (4 << 20)   /* one chunk of a PNG                                         */
#define HEP_PNG_CHUNKS_MAX           (16 << 20)  /* all chunks of a PNG but the pixels                         */

#endif
