;; Hands the host 1,000 requests with a body of 64 KiB each, which are all the same 64 KiB of its memory.
;; Stopped by what may be handed over at once.
(import "kassa:plugin/http@0.1.0" "send-all" (func $send_all (param i32 i32 i32)))
(func $fulfill (result i32)
    (local $request i32)
    (drop (memory.grow (i32.const 3)))
    (local.set $request (i32.const 131072))
    (loop $again
        (i32.store offset=36 (local.get $request) (i32.const 65536))
        (i32.store offset=40 (local.get $request) (i32.const 65536))
        (local.set $request (i32.add (local.get $request) (i32.const 44)))
        (br_if $again (i32.lt_u (local.get $request) (i32.const 175072))))
    (call $send_all (i32.const 131072) (i32.const 1000) (i32.const 2048))
    i32.const 1024)
