;; Makes resources of its own, without end, and keeps the handle of each. A whole component: no module makes one.
;; Stopped by the number of its handles.
(component
  (type $thing (resource (rep i32)))
  (core func $new (canon resource.new $thing))
  (core module $code
    (import "own" "new" (func $new (param i32) (result i32)))
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 8192))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $next)
      (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get 3)) (i32.const 7)) (i32.const -8))))
    (func (export "fulfill") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32 i32 i32) (result i32)
      (loop $again (drop (call $new (i32.const 1))) (br $again))
      unreachable))
  (core instance $own (export "new" (func $new)))
  (core instance $instance (instantiate $code (with "own" (instance $own))))
  (alias core export $instance "memory" (core memory $memory))
  (alias core export $instance "realloc" (core func $realloc))
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
