;; Writes 5,000 lines of a kilobyte, then says `done`.
;; What is over the budget of its log is not kept. That fails nothing.
(import "kassa:plugin/log@0.1.0" "write" (func $write (param i32 i32 i32)))
(func $fulfill (result i32)
    (local $line i32)
    (memory.fill (i32.const 4096) (i32.const 0x78) (i32.const 1000))
    (loop $again
        (call $write (i32.const 1) (i32.const 4096) (i32.const 1000))
        (local.set $line (i32.add (local.get $line) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $line) (i32.const 5000))))
    i32.const 1024)
