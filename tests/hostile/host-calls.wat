;; Asks for the time, without end.
;; Stopped by the number of its host calls.
(import "kassa:plugin/clock@0.1.0" "now-ms" (func $now (result i64)))
(func $fulfill (result i32)
    (loop $again (drop (call $now)) (br $again))
    unreachable)
