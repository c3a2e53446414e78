;; Says words that act on who reads them: NUL, which PostgreSQL does not hold, an escape of terminals, a line break,
;; an override of the direction of writing. Into its log, and as its note.
;; They are made spaces.
(import "kassa:plugin/log@0.1.0" "write" (func $write (param i32 i32 i32)))
(data (i32.const 4096) "a\00b\1b[31mc\nd\e2\80\aee")
(func $fulfill (result i32)
    (call $write (i32.const 3) (i32.const 4096) (i32.const 15))
    (i32.store offset=4 (i32.const 1024) (i32.const 4096))
    (i32.store offset=8 (i32.const 1024) (i32.const 15))
    i32.const 1024)
