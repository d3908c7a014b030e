-- fake_loop.lua -- coroutines and timers of the program, for specs under plain Lua: the base of
-- fake_core.lua.
--
-- Coroutines begin, wait, wake and fail as those of src/script/vm/vm_tasks.c do; the spec moves the
-- clock. Each event runs at once: the hub, which orders a connection's hooks, has no fake.

local raw_resume = coroutine.resume -- fake_core.lua replaces it, as the program does
local pack, unpack = table.pack, table.unpack

---@class FakeLoop
---@field core table        where init() puts its functions of `tidewire.core`
---@field events table      the functions of dispatch.lua
---@field failures table[]  { conn =, hook =, kind =, value =, traceback = }: coroutines that failed
---@field stats table
local FakeLoop = {}
FakeLoop.__index = FakeLoop

local HOOK_NAMES = {
  load = "load", stop = "on_stop", handshake = "validate", request = "http", opened = "on_start",
  message = "handle_message", ping = "send_ping", timeout = "on_timeout", drained = "on_drain",
  closed = "on_close", timer = "timer", failed = "on_error",
  spawned = "spawn", reload = "reload", activate = "reload", discard = "reload",
  reloaded = "on_reload", presence_changed = "room:watch",
  answered = "conn:ask", unanswered = "conn:ask",
}

local function to_ns(seconds)
  return math.floor(seconds * 1e9 + 0.5)
end

-- ---- coroutines ----

local function fail(loop, task, has_yielded, value)
  if has_yielded then
    value = "coroutine.yield outside of a coroutine of the script's own; to wait, use tw.sleep "
      .. "or tw.await"
  end
  local failure = {
    conn = task.conn, hook = HOOK_NAMES[task.event], kind = "script", value = value,
    traceback = debug.traceback(task.co),
  }
  table.insert(loop.failures, failure)
  loop.stats.script_errors = loop.stats.script_errors + 1
  coroutine.close(task.co)
  if task.event == "failed" then
    loop.core.log("error", "internal_error", nil, "why", tostring(value))
  elseif loop.events.failed then
    loop:event("failed", task.conn, loop:object(task.conn), failure.hook, failure.kind, value,
      failure.traceback)
  end
end

local function resume(loop, task, ...)
  local outer = loop.current
  loop.current = task
  local results = pack(raw_resume(task.co, ...))
  loop.current = outer
  if results[1] and coroutine.status(task.co) == "dead" then
    task.state, task.results = "returned", pack(unpack(results, 2, results.n))
  elseif results[1] and results.n == 2 and results[2] == loop.core.wait_marker then
    task.state = "waits"
    if task.woken then
      table.insert(loop.ready, task)
    end
    return
  else
    task.state = "failed"
    fail(loop, task, results[1], results[2])
  end
  if task.number then
    loop.tasks[task.number] = nil
  end
  if task.is_fast_path and task.state == "returned" and task.results[1] == nil
    and task.results[2] ~= nil then
    loop:event("returned", task.conn, loop:object(task.conn), task.results[2])
  end
end

local function new_task(f, event, conn)
  return { co = coroutine.create(f), event = event, conn = conn, state = "new", woken = false }
end

--- Runs the function of an event on a coroutine, as the program does with news from the sockets.
---@param name string   "message", "closed", …
---@param conn integer  whose hook it is; 0: none
---@return table task   task.state is "returned" (with task.results), "waits" or "failed"
function FakeLoop:event(name, conn, ...)
  local task = new_task(self.events[name], name, conn)
  self.must_answer = name == "handshake" or name == "activate" or name == "discard"
  task.scope = name == "load" and 1 or name == "reload" and select(3, ...) or nil
  resume(self, task, ...)
  self.must_answer = false
  return task
end

--- Runs handle_message itself, with its arguments, as the program does where nothing is to be
--- decoded.
---@param f function
---@param conn integer
---@return table task  as event() returns it
function FakeLoop:fast_path_event(f, conn, ...)
  local task = new_task(f, "message", conn)
  task.is_fast_path = true
  resume(self, task, ...)
  return task
end

--- Runs a function of the script's on a coroutine of its own, now.
---@return table task  as event() returns it
function FakeLoop:run(f, ...)
  local task = new_task(f, "spawned", 0)
  resume(self, task, ...)
  return task
end

--- The end of the loop's turn, until nothing is left to do: runs what was woken or spawned.
function FakeLoop:turn()
  while #self.ready > 0 do
    local batch = self.ready
    self.ready = {} -- what is woken from now on is for the next turn
    for _, task in ipairs(batch) do
      local arguments = task.arguments or { n = 0 }
      task.arguments, task.woken = nil, false
      resume(self, task, unpack(arguments, 1, arguments.n))
    end
  end
end

local function add_tasks(loop, core)
  function core.task()
    local task = loop.current
    if loop.must_answer then
      return nil, "validate must answer at once; do the slow part in on_start"
    elseif not task then
      return nil, "nothing here can wait (a callback of luv's); use tw.spawn"
    end
    if not task.number then
      task.number = loop:new_number()
      loop.tasks[task.number] = task
    end
    return task.number
  end

  function core.wake(number)
    local task = loop.tasks[number]
    if task and not task.woken then
      task.woken = true
      if task.state == "waits" then
        table.insert(loop.ready, task)
      end
    end
    return task ~= nil
  end

  function core.scope() return loop.current and loop.current.scope end

  function core.set_scope(scope)
    if loop.current then loop.current.scope = scope end
  end

  function core.end_scope(scope)
    for number, task in pairs(loop.tasks) do
      if task.scope == scope and task.state == "waits" then
        loop.tasks[number] = nil
        coroutine.close(task.co)
      end
    end
    for index = #loop.ready, 1, -1 do
      if loop.ready[index].scope == scope then
        coroutine.close(table.remove(loop.ready, index).co)
      end
    end
  end

  function core.check_lasting() end -- there is memory

  function core.spawn(f, ...)
    local task = new_task(f, "spawned", 0)
    task.arguments, task.state, task.woken = pack(...), "waits", true
    task.scope = loop.current and loop.current.scope
    table.insert(loop.ready, task)
  end
end

-- ---- time ----

local function on_due(loop, timer)
  local skipped = 0
  if timer.period_ns == 0 then
    loop.timers[timer.number] = nil
  else
    timer.next_ns = timer.next_ns + timer.period_ns
    if timer.next_ns <= loop.now_ns then
      skipped = (loop.now_ns - timer.next_ns) // timer.period_ns + 1
      timer.next_ns = timer.next_ns + skipped * timer.period_ns
    end
  end
  loop:event("timer", 0, timer.number, skipped)
end

--- The timers that are due until then, the earliest first.
local function due_until(loop, ns)
  local due = {}
  for _, timer in pairs(loop.timers) do
    if timer.next_ns <= ns then
      due[#due + 1] = timer
    end
  end
  table.sort(due, function(a, b)
    if a.next_ns ~= b.next_ns then
      return a.next_ns < b.next_ns
    end
    return a.number < b.number
  end)
  return due
end

--- The loop runs for so long: timers fire and sleeping hooks wake at their times.
---@param seconds number
function FakeLoop:advance(seconds)
  local target = self.now_ns + to_ns(seconds)
  self:turn()
  local due = due_until(self, target)
  while #due > 0 do
    self.now_ns = math.max(self.now_ns, due[1].next_ns)
    for _, timer in ipairs(due) do
      if timer.next_ns <= self.now_ns and self.timers[timer.number] == timer then
        on_due(self, timer)
      end
    end
    self:turn()
    due = due_until(self, target)
  end
  self.now_ns = target
end

--- Time goes by and the loop does not run, because something blocks it. What is late comes with
--- advance(0).
---@param seconds number
function FakeLoop:block(seconds)
  self.now_ns = self.now_ns + to_ns(seconds)
end

--- Seconds since the loop began.
---@return number
function FakeLoop:now()
  return self.now_ns / 1e9
end

local function add_timers(loop, core)
  function core.timer(seconds, repeats)
    if type(seconds) ~= "number" or not (seconds >= 0 and seconds <= 1e9) then
      error("bad argument #1: seconds from 0 to 1e9 expected", 2)
    elseif repeats and seconds < 0.001 then
      error("bad argument #1: a period of 0.001 seconds or more expected", 2)
    end
    local number = loop:new_number()
    loop.timers[number] = {
      number = number, next_ns = loop.now_ns + to_ns(seconds),
      period_ns = repeats and to_ns(seconds) or 0,
    }
    return number
  end

  function core.timer_cancel(number)
    local was_running = loop.timers[number] ~= nil
    loop.timers[number] = nil
    return was_running
  end
end

--- A number that nothing else has.
---@return integer
function FakeLoop:new_number()
  self.last_number = self.last_number + 1
  return self.last_number
end

--- Fills in a loop's fields, and its functions of `tidewire.core`.
function FakeLoop:init()
  self.now_ns, self.last_number, self.failures = 0, 0, {}
  self.tasks, self.timers, self.ready = {}, {}, {}
  add_tasks(self, self.core)
  add_timers(self, self.core)
end

return FakeLoop
