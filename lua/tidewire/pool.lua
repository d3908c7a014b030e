-- pool.lua -- `tw.pool`: a Lua module in threads of its own, for libraries that block.
--
-- Checks the script's arguments, passes them to C (bind_pool.c), and waits as tw.sleep waits: other
-- connections go on. All workers share the threads of a pool; a pool belongs to a generation of
-- the code. Misuse throws at the script's line, an error in a thread is thrown to the caller, and
-- what a script cannot foresee (a full queue, a call that takes too long) is nil and a word.
--
-- When newer code is activated, the worker lets the old pool of each name go: calls under way end
-- in the old threads, later calls of old code go to the new ones. A pool whose name the new code
-- does not have lasts as long as the old code refers to it.

local async = require "tidewire.async"
local call_options = require "tidewire.load.call_options"
local core = require "tidewire.core"
local errors = require "tidewire.errors"
local missing = require "tidewire.base.missing"
local misuse = require "tidewire.base.misuse"
local option_types = require "tidewire.load.option_types"

local pool = {}

local WAIT = core.wait_marker
local raw_yield = coroutine.yield
local call_of, result_of = core.pool_call, core.pool_result

local MIB <const> = 1 << 20
local MOST_THREADS <const> = 1024

-- ---- the script's arguments ----

call_options.declare("pool", {
  { name = "threads", type = "count", default = 4 },
  { name = "queue", type = "count", default = 1000 },
  { name = "queue_bytes", type = "size", min = 1, max = 1 << 40, default = 16 * MIB },
  { name = "timeout", type = "seconds", positive = true, default = 10 },
  { name = "budget", type = "seconds", positive = true, default = 1 },
  { name = "memory", type = "size", min = MIB, max = 1 << 40 },
})

call_options.declare("pool_call", { { name = "timeout", type = "seconds", positive = true } })

--- The effective options of tw.pool.
local function check(module, given)
  if missing.is_module(module) then
    misuse.throw "tw.pool: call it with a dot, tw.pool(module)"
  elseif type(module) ~= "string" or module == "" or module:find("\0", 1, true) then
    misuse.throw('tw.pool: module must be a name as for require, such as "db", got %s',
      option_types.describe(module))
  end
  local effective = call_options.check("pool", given, "tw.pool: ")
  if effective.threads > MOST_THREADS then
    misuse.throw("tw.pool: threads: at most %d are possible, got %d", MOST_THREADS,
      effective.threads)
  end
  return effective
end

-- ---- pools ----

---@class tidewire.PoolStats  see lua/types/tidewire.lua

---@class tidewire.Pool
---@field name string        of the module
---@field timeout number     seconds that a call may take, with the time in the queue
local Pool = {}
Pool.__index = Pool
Pool.__name = "tidewire.Pool"
Pool.__kind = "a pool"
Pool.__instead = "it is of use in this worker only"
missing.watch_class("pool", Pool, { name = true, timeout = true })

--- The worker's pools, until nothing refers to them.
---@type table<tidewire.Pool, true>
local all = setmetatable({}, { __mode = "k" })
--- The generation of the activated code.
local active = 1

--- Lets a pool go: this worker makes no more calls in it.
local function release(one)
  if one.number then
    core.pool_release(one.number)
    one.number = false
  end
end

function Pool:__gc()
  if not self.of then
    release(self)
  end
end

function Pool:__tostring()
  return ("pool of %s (%s)"):format(self.name, (self.of or self).number and "open" or "closed")
end

--- The newest open pool of this name.
local function newest(name, least)
  local found
  for one in pairs(all) do
    if one.name == name and one.number and one.is_loaded and one.generation >= least
      and one.generation <= active and (not found or one.generation > found.generation) then
      found = one
    end
  end
  return found
end

--- C's number of the pool that gets a call; nil: it is closed.
local function number_of(self)
  local one = self.of or self
  if not one.number and not one.is_closed then
    one = newest(one.name, one.generation)
  end
  return one and one.number
end

local function check_itself(self, method, level)
  if getmetatable(self) ~= Pool then
    error(("pool:%s: call it with a colon, pool:%s(…)"):format(method, method), level or 3)
  end
end

-- ---- calls ----

--- A call that waits. Its end, however it comes, lets the thread's results go. It is made before
--- the call: where there is no memory for it, there is no call.
local Waiting = {
  __close = function(waiting)
    core.pool_forget(waiting.call)
    async.end_wait(waiting.task, waiting.has_ended)
  end,
}

local function closed(self)
  return nil, "closed", ("pool %s: it is closed"):format(self.name)
end

---@param task integer
local function new_waiting(task)
  return setmetatable({ call = 0, task = task, has_ended = true }, Waiting)
end

--- Waits for the results of a call. The first results are those of core.pool_result.
local function take(waiting, self, name, status, ...)
  if status == "returned" then
    waiting.has_ended = true
    return ...
  elseif not status then
    raw_yield(WAIT)
    return take(waiting, self, name, result_of(waiting.call))
  end
  waiting.has_ended = true
  if status == "timeout" then
    return nil, "timeout", ("pool %s: %s has not returned within %g s"):format(self.name, name,
      self.timeout)
  elseif status == "closed" then
    return closed(self)
  elseif status == "unknown" then
    error(("pool:call: the module %s has no function %s%s"):format(self.name,
      option_types.quote(name), (...)), 3)
  end
  local message, traceback, kind, value = ...
  error(errors.remote {
    kind = kind, message = message, traceback = traceback, value = value,
    pool = self.name, call = name,
  }, 0)
end

local function refuse(self, name, problem)
  if problem == "closed" then
    return closed(self)
  end
  return nil, problem, ("pool %s: no room for another call of %s: %d calls, or %d bytes of "
    .. "arguments, wait for a thread"):format(self.name, name, (self.of or self).queue,
    (self.of or self).queue_bytes)
end

local function check_call(self, name)
  check_itself(self, "call", 4)
  if type(name) ~= "string" then
    error(("pool:call: the first argument must be the name of a function of the module, got %s")
      :format(option_types.describe(name)), 3)
  end
end

--- Calls a function of the module in one of the threads, and waits for its results. Other
--- connections go on.
---
--- Arguments and results are nil, booleans, numbers, strings, and tables of these. An error in the
--- function is thrown here: the value has the fields `message`, `traceback` (of the thread), `kind`
--- ("script", "timeout", "memory") and `value`.
---@param name string
---@param ... any
---@return any ...  the function's results; or nil, "timeout" | "queue full" | "closed", a sentence
function Pool:call(name, ...)
  check_call(self, name)
  local task = async.this_task("pool:call")
  local number = number_of(self)
  if not number then
    return refuse(self, name, "closed")
  end
  local waiting <close> = new_waiting(task)
  local ok, call, problem =
    pcall(call_of, number, task, self.timeout, (self.of or self).queue_bytes, name, ...)
  if not ok then
    error("pool:call: " .. tostring(call), 2)
  elseif not call then
    return refuse(self, name, problem)
  end
  waiting.call, waiting.has_ended = call, false
  return take(waiting, self, name)
end

--- The same pool with other options for calls: `pool:with{ timeout = 2 }:call("save", row)`.
---@param given { timeout: number|nil }
---@return tidewire.Pool
function Pool:with(given)
  check_itself(self, "with")
  local order = misuse.blame_caller(call_options.check, "pool_call", given, "pool:with: ")
  return setmetatable({
    name = self.name, timeout = order.timeout or self.timeout, of = self.of or self,
  }, Pool)
end

--- The figures of the pools of this module, over all workers: `threads` and those that are `busy`,
--- calls in the `queue`, and `calls`, `errors`, `timeouts`, `refused`, `wait_seconds` and
--- `run_seconds` since the start.
---@return tidewire.PoolStats
function Pool:stats()
  check_itself(self, "stats")
  return core.pool_figures(self.name)
end

--- Closes the pool in this worker: calls under way go on, later ones return nil and "closed". The
--- threads end when all workers have closed it.
function Pool:close()
  check_itself(self, "close")
  local one = self.of or self
  one.is_closed = true
  release(one)
end

--- Of `local pool <close>`.
function Pool:__close()
  self:close()
end

-- ---- making ----

--- Lets older pools of this name go.
local function release_older(one)
  for other in pairs(all) do
    if other.name == one.name and other.generation < one.generation then
      release(other)
    end
  end
end

--- Waits until the threads have loaded the module. The script files are added to those of the app.
---@return string|nil problem
local function wait_for_load(number, task, files)
  local waiting <close> = new_waiting(task)
  local call = core.pool_load(number, task)
  if call then
    waiting.call, waiting.has_ended = call, false
    while not result_of(call) do
      raw_yield(WAIT)
    end
    waiting.has_ended = true
  end
  local list, problem = core.pool_loaded(number)
  for file in (list or ""):gmatch("[^\n]+") do
    files[file] = true
  end
  return problem
end

--- Makes a pool of threads that have loaded a module, or finds it. All workers share it. Waits
--- until the module is loaded, and throws if it cannot be.
---@param scripts tidewire.Generation  of the code that calls
---@param module string                found as `require` finds it
---@param given tidewire.PoolOptions|nil
---@return tidewire.Pool
function pool.open(scripts, module, given)
  local order = misuse.blame_caller(check, module, given)
  local task = async.this_task("tw.pool")
  local env = scripts.env.package
  local one = setmetatable({
    name = module, timeout = order.timeout, queue = order.queue, queue_bytes = order.queue_bytes,
    generation = scripts.number, number = false, is_loaded = false,
  }, Pool)
  all[one] = true -- before the wait: the load may be discarded meanwhile
  local number, problem = core.pool_open(module, scripts.number, order.threads, order.queue,
    order.queue_bytes, order.memory, order.budget, env.path, package.path, env.cpath)
  if not number then
    error(("tw.pool: the pool %s cannot be made: %s"):format(option_types.quote(module), problem),
      2)
  end
  one.number = number -- in a field that it has: this needs no memory
  local failure = wait_for_load(number, task, scripts.files)
  if failure then
    release(one)
    error(failure, 0)
  end
  one.is_loaded = true
  if one.generation <= active then
    release_older(one)
  end
  return one
end

--- Newer code is activated: its pools take the place of the old ones with their names. Others that
--- only old code refers to are collected, at the end of the turn, when the tasks of the old code
--- have ended.
---@param generation integer
function pool.activate(generation)
  active = generation
  for one in pairs(all) do
    if one.generation == generation then
      release_older(one)
    end
  end
  for one in pairs(all) do
    if one.generation < generation and one.number then
      core.spawn(collectgarbage)
      break
    end
  end
end

--- Newer code is discarded, and its pools with it.
---@param generation integer
function pool.discard(generation)
  for one in pairs(all) do
    if one.generation == generation then
      release(one)
    end
  end
end

return pool
