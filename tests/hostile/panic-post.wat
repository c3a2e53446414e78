;; Answers, and breaks off when the host tells it that the answer was read.
;; The call counts as failed.
(func (export "cabi_post_kassa:plugin/fulfiller@0.1.0#fulfill") (param i32)
    unreachable)
(func $fulfill (result i32)
    i32.const 1024)
