;; Hands the host 900 kB for its log, 9,000 times. Ticks are looked for where a function begins and where a loop goes
;; round: here is neither. The calls are written out by the kit, and the memory is another module's, since a module's
;; own is lent to the host through functions that wit-component puts in between.
;; Stopped by its processor time, which each host call looks at too.
(component
  (type $logging (instance
    (type $level' (enum "debug" "info" "warn" "error"))
    (export "level" (type $level (eq $level')))
    (export "write" (func (param "level" $level) (param "message" string)))))
  (import "kassa:plugin/log@0.1.0" (instance $log (type $logging)))
  (core module $room
    (memory (export "memory") 16)
    (global $next (mut i32) (i32.const 8192))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $next)
      (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get 3)) (i32.const 7)) (i32.const -8)))))
  (core instance $room (instantiate $room))
  (alias core export $room "memory" (core memory $memory))
  (alias core export $room "realloc" (core func $realloc))
  (alias export $log "write" (func $logged))
  (core func $write (canon lower (func $logged) (memory $memory)))
  (core module $code
    (import "log" "write" (func $write (param i32 i32 i32)))
    (import "room" "memory" (memory 16))
    (func (export "fulfill") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32) (result i32)
      (memory.fill (i32.const 65536) (i32.const 0x78) (i32.const 900000))
      (call $write (i32.const 1) (i32.const 65536) (i32.const 900000))
      i32.const 1024))
  (core instance $lowered (export "write" (func $write)))
  (core instance $instance (instantiate $code (with "log" (instance $lowered)) (with "room" (instance $room))))
  (alias core export $instance "fulfill" (core func $fulfill))
  ;; What follows gives the types of the role's function their names, as every component of a role has it.
  (component $role
    (type $more (list (tuple string string)))
    (type $event' (record (field "id" string) (field "kind" string) (field "payload" string) (field "more" $more)))
    (import "a" (type $event (eq $event')))
    (type $context' (record
      (field "run" string) (field "attempt" u32) (field "now-ms" u64) (field "settings" string) (field "more" $more)))
    (import "b" (type $context (eq $context')))
    (type $outcome' (variant (case "done" string) (case "retry" (tuple u32 string)) (case "reject" string)))
    (import "c" (type $outcome (eq $outcome')))
    (import "f" (func $fulfill (param "event" $event) (param "context" $context) (result $outcome)))
    (export $named-event "event" (type $event'))
    (export $named-context "context" (type $context'))
    (export $named-outcome "outcome" (type $outcome'))
    (export "fulfill" (func $fulfill)
      (func (param "event" $named-event) (param "context" $named-context) (result $named-outcome))))
  (type $more (list (tuple string string)))
  (type $event (record (field "id" string) (field "kind" string) (field "payload" string) (field "more" $more)))
  (type $context (record
    (field "run" string) (field "attempt" u32) (field "now-ms" u64) (field "settings" string) (field "more" $more)))
  (type $outcome (variant (case "done" string) (case "retry" (tuple u32 string)) (case "reject" string)))
  (func $lifted (param "event" $event) (param "context" $context) (result $outcome)
    (canon lift (core func $fulfill) (memory $memory) (realloc $realloc)))
  (instance $exported (instantiate $role
    (with "a" (type $event)) (with "b" (type $context)) (with "c" (type $outcome)) (with "f" (func $lifted))))
  (export "kassa:plugin/fulfiller@0.1.0" (instance $exported)))
