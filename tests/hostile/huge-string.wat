;; Hands the host one string of 16 MiB.
;; Stopped by what may be handed over at once.
(import "kassa:plugin/log@0.1.0" "write" (func $write (param i32 i32 i32)))
(func $fulfill (result i32)
    (drop (memory.grow (i32.const 300)))
    (call $write (i32.const 1) (i32.const 4096) (i32.const 16777216))
    i32.const 1024)
