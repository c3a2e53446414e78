;; Wants a table of ten million entries before it does anything.
;; Refused at its upload, by the size of tables.
(table $taken 10000000 funcref)
(func $fulfill (result i32)
    i32.const 1024)
