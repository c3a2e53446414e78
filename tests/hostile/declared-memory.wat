;; Wants 3 GiB before it does anything.
;; Refused at its upload, by the memory of the first call.
(memory (export "memory") 49152)
(func $fulfill (result i32)
    i32.const 1024)
