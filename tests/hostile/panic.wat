;; Breaks off in the function of each role that a hook can have.
;; That is the end of the call alone.
(func (export "kassa:plugin/matcher@0.1.0#match-transfer") (param i32) (result i32)
    unreachable)
(func (export "kassa:plugin/rates@0.1.0#price-of") (param i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32) (result i32)
    unreachable)
(func $fulfill (result i32)
    unreachable)
