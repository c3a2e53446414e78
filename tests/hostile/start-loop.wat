;; Never comes back from being instantiated.
;; Refused at its upload, by the processor time of the first call.
(func $start (loop $again (br $again)))
(start $start)
(func $fulfill (result i32)
    i32.const 1024)
