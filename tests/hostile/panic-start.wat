;; Breaks off as it is instantiated.
;; Refused at its upload: its first call fails.
(func $start unreachable)
(start $start)
(func $fulfill (result i32)
    i32.const 1024)
