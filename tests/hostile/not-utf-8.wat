;; Writes bytes into its log that are no text.
;; Stopped by the check of every string.
(import "kassa:plugin/log@0.1.0" "write" (func $write (param i32 i32 i32)))
(data (i32.const 4096) "\ff\fe\fd")
(func $fulfill (result i32)
    (call $write (i32.const 1) (i32.const 4096) (i32.const 3))
    i32.const 1024)
