-- run.lua -- `tw.run`: other programs, without blocking the worker.
--
-- Checks the script's arguments, gives them to C as plain values (bind_children.c), and waits as
-- tw.sleep waits. A worker runs so many programs at once (limits.processes); further calls wait in
-- order. Misuse throws at the script's line; a program that cannot be started, or does not end in
-- time, is nil and a message.

local async = require "tidewire.async"
local call_options = require "tidewire.load.call_options"
local core = require "tidewire.core"
local missing = require "tidewire.base.missing"
local misuse = require "tidewire.base.misuse"
local option_types = require "tidewire.load.option_types"
local options = require "tidewire.load.options"
local uv = require "luv"

local run = {}

local WAIT = core.wait_marker
local raw_yield = coroutine.yield

-- ---- the script's arguments ----

local NAME <const>, MIB <const> = "tw.run: ", 1 << 20

--- What stands beside the program and its arguments.
call_options.declare("run", {
  { name = "stdin", type = "string" },
  { name = "cwd", type = "bytes" },
  { name = "env", type = "table" },
  { name = "clear_env", type = "boolean", default = false },
  { name = "timeout", type = "seconds", positive = true, default = 30 },
  { name = "max_output", type = "size", min = 0, max = 1 << 40, default = MIB },
  { name = "on_stdout", type = "function" },
  { name = "on_stderr", type = "function" },
})

local function throw(message, ...)
  misuse.throw(NAME .. message, ...)
end

--- Texts as the beginning of a table: { "ls", "-l".
local function shown(texts)
  local quoted = {}
  for i, text in ipairs(texts) do
    quoted[i] = ("%q"):format(tostring(text))
  end
  return "{ " .. table.concat(quoted, ", ")
end

--- The program stands in a string, as for os.execute.
local function throw_string(line, argument)
  local rest = { type(argument) == "string" and argument or nil }
  local words = {}
  for word in line:gmatch("%S+") do
    words[#words + 1] = word
  end
  words[#words + 1] = rest[1]
  throw("a table is needed, got a string: write tw.run%s }; a line for a shell is tw.run%s }",
    shown(words), shown { "sh", "-c", table.concat({ line, rest[1] }, " ") })
end

--- Splits the table into the list of arguments and the options.
local function split(order)
  local arguments, given, count = {}, {}, 0
  for key, value in pairs(order) do
    if math.type(key) == "integer" then
      count = count + 1
      arguments[key] = value
    else
      given[key] = value
    end
  end
  if count == 0 then
    throw 'the program is missing: tw.run{ "ls", "-l" }'
  elseif #arguments ~= count or arguments[1] == nil then
    throw "the arguments must be a list without holes"
  end
  return arguments, given
end

local function check_arguments(arguments)
  for i, argument in ipairs(arguments) do
    if type(argument) == "number" then
      arguments[i] = tostring(argument)
    elseif type(argument) ~= "string" then
      throw("[%d] must be a string or a number, got %s", i, option_types.describe(argument))
    elseif argument:find("\0", 1, true) then
      throw("[%d] %s: it has a zero byte", i, option_types.quote(argument))
    end
  end
  if arguments[1] == "" then
    throw "[1] is the program, and it is empty"
  end
  return arguments
end

--- The program's environment: "NAME=value" each. `changes` has values, and false for what it lacks.
local function check_environment(changes, is_empty)
  local environment = is_empty and {} or core.environment()
  for name, value in pairs(changes or {}) do
    if type(name) ~= "string" or name == "" or name:find("[=%z]") then
      throw("env: %s is no name of a variable", option_types.describe(name))
    elseif type(value) ~= "string" and type(value) ~= "number" and value ~= false then
      throw("env: %s must be a string, a number or false, got %s", name,
        option_types.describe(value))
    elseif value and tostring(value):find("\0", 1, true) then
      throw("env: %s has a zero byte", name)
    end
    environment[name] = value or nil
  end
  local list = {}
  for name, value in pairs(environment) do
    list[#list + 1] = name .. "=" .. value
  end
  return list
end

--- The effective options, with `arguments` and `environment`.
local function check(order, ...)
  if missing.is_module(order) then
    throw('call it with a dot, tw.run{ "ls", "-l" }')
  elseif type(order) == "string" then
    throw_string(order, ...)
  elseif type(order) ~= "table" then
    throw('a table is needed, got %s: tw.run{ "ls", "-l" }', option_types.kind(order))
  elseif select("#", ...) > 0 then
    throw("a single table is needed: its arguments and options stand in the table")
  end
  local arguments, given = split(order)
  local effective = call_options.check("run", given, NAME)
  effective.arguments = check_arguments(arguments)
  effective.environment = check_environment(effective.env, effective.clear_env)
  return effective
end

-- ---- places ----

--- The right to run one program.
---@class tidewire.RunPlace
---@field task integer
---@field child integer|nil
---@field is_held boolean|nil    it counts
---@field is_gone boolean|nil    the caller does not wait for it any more
---@field is_late boolean|nil    its time was over before it was held
---@field has_ended boolean|nil

local limit = options.spec("limits", "processes").default
local held = 0
---@type table<integer, tidewire.RunPlace>  those that wait, from `first` to `last`
local queue = {}
local first, last = 1, 0

local function hold(place)
  held = held + 1
  place.is_held = true
end

--- Gives free places to those that wait.
local function serve()
  while first <= last and (queue[first].is_gone or held < limit) do
    local place = queue[first]
    queue[first] = nil
    first = first + 1
    if not place.is_gone then
      hold(place)
      core.wake(place.task)
    end
  end
end

--- Sets how many programs run at once.
---@param count integer
function run.set_limit(count)
  limit = count
  serve()
end

--- Ends the program, gives the place to another caller, with or without an error.
local Place = {
  __close = function(place)
    place.is_gone = true
    if place.child then
      core.child_end(place.child)
    end
    if place.timer then
      place.timer:cancel()
    end
    if place.is_held then
      held = held - 1
      serve()
    end
    async.end_wait(place.task, place.has_ended)
  end,
}

local function nothing() end

--- Waits until the place is held, at most so long.
---@param place tidewire.RunPlace
---@param seconds number
---@return boolean ok
local function wait_for_place(place, seconds)
  if held < limit then -- then no caller waits
    hold(place)
    return true
  end
  last = last + 1
  queue[last] = place
  place.timer = async.start_once(seconds, function()
    place.is_late = true
    core.wake(place.task)
  end, nothing)
  repeat
    raw_yield(WAIT)
  until place.is_held or place.is_late
  place.timer:cancel()
  return place.is_held == true
end

-- ---- the program ----

--- The names of signals, by their numbers.
local signal_names = {}
for name, number in pairs(uv.constants) do
  if name:find("^SIG") then
    signal_names[number] = name
  end
end

--- Gives the script's functions the output that has come. Returns whether there was some.
local function deliver(order, child)
  local was_some = false
  for _, name in ipairs { "stdout", "stderr" } do
    local f = order["on_" .. name]
    local chunk = f and core.child_take(child, name) or ""
    if chunk ~= "" then
      was_some = true
      f(chunk)
    end
  end
  return was_some
end

--- Waits until the program has ended. Returns what core.child_result returns.
local function wait_for_end(order, child)
  while true do
    if not deliver(order, child) then
      local code, signal, stdout, stderr = core.child_result(child)
      if code or signal then
        return code, signal, stdout, stderr
      end
      core.child_wait(child)
      raw_yield(WAIT)
    end
  end
end

--- Runs a program, without a shell, and waits until it has ended.
---
--- Returns nil and a message where it cannot be started ("convert: not found in PATH, …"), does not
--- end in time, or writes more than max_output bytes: its process group is ended then. Throws for
--- misuse, and where nothing can wait.
---@param order tidewire.RunOrder  the program, its arguments, and options
---@return tidewire.RunResult|nil result
---@return string|nil problem
function run.run(order, ...)
  order = misuse.blame_caller(check, order, ...)
  local task = async.this_task("tw.run")
  local deadline = core.monotonic() + order.timeout
  local program = order.arguments[1]
  local place <close> = setmetatable({ task = task }, Place)
  if not wait_for_place(place, order.timeout) then
    place.has_ended = true
    return nil, ("%s: timed out after %.15g s, in which limits.processes, %d, ran already")
      :format(program, order.timeout, limit)
  end
  local rest = math.max(0.001, deadline - core.monotonic())
  local child = core.child_start(task, order.arguments, order.environment, order.cwd,
    order.stdin, order.max_output, rest, order.on_stdout ~= nil, order.on_stderr ~= nil)
  place.child = child
  local code, signal, stdout, stderr = wait_for_end(order, child)
  place.has_ended = true
  if not code and signal == "timed out" then
    return nil, ("%s: timed out after %.15g s"):format(program, order.timeout)
  elseif not code then
    return nil, ("%s: %s"):format(program, signal)
  end
  return {
    code = code >= 0 and code or nil,
    signal = signal ~= 0 and (signal_names[signal] or "SIG" .. signal) or nil,
    stdout = not order.on_stdout and stdout or nil,
    stderr = not order.on_stderr and stderr or nil,
  }
end

return run
