;; Takes entries of a table, a thousand at a time.
;; Stopped by the size of its tables, which counts as memory.
(table $taken 1 funcref)
(func $fulfill (result i32)
    (loop $again
        (drop (table.grow $taken (ref.null func) (i32.const 1000)))
        (br $again))
    unreachable)
