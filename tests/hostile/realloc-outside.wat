;; Tells the host to put the event behind the end of its memory.
;; Stopped by the check of every address that it answers.
(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    i32.const -65536)
(func $fulfill (result i32)
    i32.const 1024)
