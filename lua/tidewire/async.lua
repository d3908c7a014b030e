-- async.lua -- time and waiting: tw.sleep, tw.after, tw.every, tw.spawn, tw.await.
--
-- A hook that waits yields a marker to C. C knows the hook's coroutine by an integer and resumes it
-- when it is woken. A coroutine of the script's own passes the marker outward, so waiting works
-- inside such a coroutine too.

local core = require "tidewire.core"
local errors = require "tidewire.errors"
local guards = require "tidewire.guards"
local missing = require "tidewire.base.missing"
local option_types = require "tidewire.load.option_types"
local generation_timers = require "tidewire.reload.generation_timers"

local async = {}

local WAIT, EXIT = core.wait_marker, core.exit_marker
local raw_resume, raw_close = core.guarded.resume, core.guarded.close
local raw_yield, raw_status = coroutine.yield, coroutine.status
local pack, unpack = table.pack, table.unpack

-- ---- coroutines of the script's own ----

--- Coroutines that wait at the moment: a script that resumed one would wake it too early.
local waiting = setmetatable({}, { __mode = "k" })

local function pass_on(co, ok, marker, ...)
  if ok and marker == WAIT and raw_status(co) == "suspended" then
    waiting[co] = true
    raw_yield(WAIT)
    waiting[co] = nil
    return pass_on(co, raw_resume(co))
  elseif ok and marker == EXIT and raw_status(co) == "suspended" then
    raw_close(co)
    raw_yield(EXIT) -- for ever: os.exit does not return
  end
  return ok, marker, ...
end

--- coroutine.resume, through which tw.sleep, tw.await and tw.http.request can wait.
function async.resume(co, ...)
  if type(co) ~= "thread" then
    error(("bad argument #1 to 'resume' (coroutine expected, got %s)"):format(type(co)), 2)
  elseif waiting[co] then
    return false, "cannot resume non-suspended coroutine" -- in Lua's words
  end
  return pass_on(co, raw_resume(co, ...))
end

--- coroutine.wrap, through which tw.sleep, tw.await and tw.http.request can wait.
---@type fun(f: function): function
async.wrap = guards.make_wrap(async.resume)

--- The first level from `level` on that is a line of a script, as the caller counts; else `level`.
local function script_level(level)
  local at = level
  for info in function() return debug.getinfo(at + 2, "S") end do
    if info.what ~= "C" and not info.short_src:find "^lua/tidewire/" then
      return at
    end
    at = at + 1
  end
  return level
end

--- The running hook's integer. Where nothing can wait it throws, at the line of the script that has
--- called the library.
---@param what string  "tw.sleep"
---@return integer
function async.this_task(what)
  local task, why = core.task()
  if task and not coroutine.isyieldable() then
    task = nil
    why = "attempt to yield across a C-call boundary: functions that table.sort, string.gsub and "
      .. "other C functions call cannot wait"
  end
  if not task then
    error(("%s: %s"):format(what, why), script_level(3))
  end
  return task
end

--- Ends a wait, in a __close method. If the script has closed its own coroutine while that waited,
--- what resumed the coroutine must go on.
---@param task integer
---@param has_ended any  true: the wait has come to its own end, or has not begun
function async.end_wait(task, has_ended)
  if not has_ended then
    core.wake(task)
  end
end

--- The token that each sleeping hook waits for: a wake that comes too late finds another token. The
--- table is weak, because a hook that ends with its scope is never woken; a sleeping hook has its
--- token on its stack.
---@type table<integer, table>
local waits = setmetatable({}, { __mode = "v" })

--- Sleeps until wake(task, token).
local function wait(task, token)
  waits[task] = token
  raw_yield(WAIT)
  waits[task] = nil
end

local function wake(task, token)
  if waits[task] == token and not core.wake(task) then
    waits[task] = nil -- it was ended
  end
end

-- ---- timers ----

---@class tidewire.Timer
---@field skipped integer  ticks that a repeating timer has left out because it was late
local Timer = {}
Timer.__index = Timer
Timer.__name = "tidewire.Timer"
Timer.__kind = "a timer"
Timer.__instead = "it is of use in this worker only"
missing.watch_class("timer", Timer, { skipped = true })

---@type table<integer, tidewire.Timer>  by C's integer
local running = {}

local function forget(timer)
  running[timer.number] = nil
  generation_timers.remove(timer)
  if timer.on_end then
    timer.on_end(timer)
  end
end

local function check_timer_itself(self, method)
  if getmetatable(self) ~= Timer then
    error(("timer:%s: call it with a colon, timer:%s()"):format(method, method), 3)
  end
end

--- Stops the timer. Its function will not be called again; a call that waits goes on to its end.
---@return boolean was_running
function Timer:cancel()
  check_timer_itself(self, "cancel")
  if running[self.number] ~= self then
    return false
  end
  core.timer_cancel(self.number)
  forget(self)
  return true
end

---@return boolean
function Timer:is_running()
  check_timer_itself(self, "is_running")
  return running[self.number] == self
end

--- A timer that has ended already.
---@return tidewire.Timer
function async.dead_timer()
  return setmetatable({ number = 0, skipped = 0 }, Timer)
end

--- Notes the end of a call of a repeating timer's function, with or without an error.
local Call = { __close = function(call) call.timer.busy = false end }

--- in_scope: a timer that is started while code is loaded ends with that code. C's timer comes
--- last: an error of memory may come before.
local function start(seconds, f, on_end, repeats, in_scope, is_sleep)
  local timer = setmetatable({
    number = 0, f = f, on_end = on_end, repeats = repeats, skipped = 0, busy = false,
  }, Timer)
  timer.call = repeats and setmetatable({ timer = timer }, Call) or nil
  if in_scope then
    generation_timers.add(timer)
  end
  timer.number = core.timer(seconds, repeats, is_sleep)
  running[timer.number] = timer
  return timer
end

--- For conn.lua: calls f() once, and on_end(timer) when the timer is over.
---@param seconds number
---@param f fun()
---@param on_end fun(timer: tidewire.Timer)
---@return tidewire.Timer
function async.start_once(seconds, f, on_end)
  return start(seconds, f, on_end, false)
end

--- For conn.lua: calls f() every `seconds`, and on_end(timer) when the timer is over.
---@param seconds number
---@param f fun()
---@param on_end fun(timer: tidewire.Timer)
---@return tidewire.Timer
function async.start_repeating(seconds, f, on_end)
  return start(seconds, f, on_end, true)
end

--- C's event: a timer is due.
---@param number integer   the timer's
---@param skipped integer  ticks that were missed before this one
function async.fire(number, skipped)
  local timer = running[number]
  if not timer then
    core.timer_cancel(number) -- an error of memory came before `running` had it
    return
  end
  generation_timers.enter(timer)
  if not timer.repeats then
    forget(timer)
    return timer.f()
  end
  timer.skipped = timer.skipped + skipped
  if timer.busy then
    timer.skipped = timer.skipped + 1
    return
  end
  timer.busy = true
  local _ <close> = timer.call
  local ok, err = errors.call("timer", timer.f)
  if not ok then
    error(err, 0)
  end
end

--- Throws, at the line of the caller's caller, unless the arguments are those of a timer.
---@param what string   the function, for the message: "tw.after"
---@param seconds any
---@param f any
---@param least number|nil  seconds; 0 by default
function async.check_timer(what, seconds, f, least)
  least = least or 0
  if type(seconds) ~= "number" or not (seconds >= least and seconds <= 1e9) then
    error(("%s: seconds must be a number from %g to 1e9, got %s")
      :format(what, least, option_types.describe(seconds)), 3)
  end
  if type(f) ~= "function" then
    error(("%s: a function is needed, got %s"):format(what, option_types.kind(f)), 3)
  end
end

--- Calls f() once, `seconds` from now.
---@param seconds number
---@param f fun()
---@return tidewire.Timer
function async.after(seconds, f)
  async.check_timer("tw.after", seconds, f)
  return start(seconds, f, nil, false, true)
end

--- Calls f() every `seconds`, counted from now, without drift. While a call still waits, the next
--- one is left out.
---@param seconds number  0.001 or more
---@param f fun()
---@return tidewire.Timer
function async.every(seconds, f)
  async.check_timer("tw.every", seconds, f, 0.001)
  return start(seconds, f, nil, true, true)
end

-- ---- waiting ----

--- Waits. Other connections go on. The next message of this connection waits too.
---@param seconds number
function async.sleep(seconds)
  if type(seconds) ~= "number" or not (seconds >= 0 and seconds <= 1e9) then
    error(("tw.sleep: seconds must be a number from 0 to 1e9, got %s")
      :format(option_types.describe(seconds)), 2)
  end
  local task, token = async.this_task("tw.sleep"), {}
  start(seconds, function() wake(task, token) end, nil, false, true, true)
  wait(task, token)
end

--- Runs f(...) in a coroutine of its own. f may wait. An error in f is logged.
---@param f fun(...)
function async.spawn(f, ...)
  if type(f) ~= "function" then
    error(("tw.spawn: a function is needed, got %s"):format(option_types.kind(f)), 2)
  end
  core.spawn(f, ...)
end

--- Turns a function with a callback into a call that waits: `begin(done)` starts the work, and
--- await returns the arguments of the first call of `done`.
---@param begin fun(done: fun(...))
---@return any ...
function async.await(begin)
  if type(begin) ~= "function" then
    error(("tw.await: a function is needed, got %s"):format(option_types.kind(begin)), 2)
  end
  local task, token = async.this_task("tw.await"), {}
  local result
  begin(function(...)
    if not result then
      result = pack(...)
      wake(task, token)
    end
  end)
  if not result then
    wait(task, token)
  end
  return unpack(result, 1, result.n)
end

return async
