;; Takes memory, 1 MiB at a time, and writes into each.
;; Stopped by its memory.
(func $fulfill (result i32)
    (loop $again
        (i32.store8 (i32.shl (memory.grow (i32.const 16)) (i32.const 16)) (i32.const 1))
        (br $again))
    unreachable)
