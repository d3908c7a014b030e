-- files.lua -- `tw.read_file` and `tw.write_file`: whole files, without blocking the worker.
--
-- Checks the script's arguments, gives them to C as plain values (bind_files.c), and waits as
-- tw.sleep waits, while a thread of libuv's pool reads or writes. Misuse throws at the script's
-- line; failures of the system are nil, a message and a number, as io.open's are. Keeps nothing.

local async = require "tidewire.async"
local call_options = require "tidewire.load.call_options"
local core = require "tidewire.core"
local missing = require "tidewire.base.missing"
local misuse = require "tidewire.base.misuse"
local option_types = require "tidewire.load.option_types"

local files = {}

local WAIT = core.wait_marker
local raw_yield = coroutine.yield

-- ---- the script's arguments ----

local MIB <const>, LARGEST <const> = 1 << 20, 1 << 40

call_options.declare("read_file", {
  { name = "max_size", type = "size", min = 0, max = LARGEST, default = 16 * MIB },
})

call_options.declare("write_file", {
  { name = "append", type = "boolean", default = false },
  { name = "atomic", type = "boolean", default = true },
  { name = "fsync", type = "boolean", default = false },
  { name = "mode", type = "permissions" },
})

local function check_path(name, path)
  if missing.is_module(path) then
    misuse.throw("%s: call it with a dot, %s(path)", name, name)
  elseif type(path) ~= "string" then
    misuse.throw("%s: path must be a string, got %s", name, option_types.kind(path))
  elseif path:find("\0", 1, true) then
    misuse.throw("%s: path %s: it has a zero byte", name, option_types.quote(path))
  end
end

local function check_read(path, given)
  check_path("tw.read_file", path)
  return (call_options.check("read_file", given, "tw.read_file: "))
end

local function check_write(path, data, given)
  check_path("tw.write_file", path)
  if type(data) ~= "string" then
    misuse.throw("tw.write_file: data must be a string, got %s%s", option_types.kind(data),
      type(data) == "table" and "; tw.json.encode makes one of a table" or "")
  end
  local order, checked = call_options.check("write_file", given, "tw.write_file: ")
  if order.append and checked.atomic then
    misuse.throw "tw.write_file: append and atomic: only a whole file can be replaced at once"
  end
  return order
end

-- ---- waiting ----

-- Forgets a job when the function that began it ends, with or without an error.
local Pending = {
  __close = function(pending)
    if pending.job then
      core.file_end(pending.job)
    end
    async.end_wait(pending.task, pending.has_ended)
  end,
}

--- Begins a job and waits for its result.
local function wait_for(task, begin, ...)
  local pending <close> = setmetatable({ task = task, has_ended = true }, Pending)
  pending.job = begin(task, ...)
  pending.has_ended = false
  local result, message, code
  repeat
    raw_yield(WAIT)
    result, message, code = core.file_result(pending.job)
  until result or message
  pending.has_ended = true
  return result, message, code
end

--- Reads a whole regular file.
---
--- Returns nil, a message and errno for failures, as io.open does; throws for misuse, and where
--- nothing can wait.
---@param path string  relative to the server's working directory, as of io.open
---@param given tidewire.ReadFileOptions|nil
---@return string|nil data
---@return string|nil problem
---@return integer|nil code
function files.read(path, given)
  local order = misuse.blame_caller(check_read, path, given)
  local task = async.this_task("tw.read_file")
  return wait_for(task, core.file_read, path, order.max_size)
end

--- Writes a whole file: a new one beside it, which then gets its name; or, by its options, into the
--- file itself.
---
--- Returns nil, a message and errno for failures, as io.open does; throws for misuse, and where
--- nothing can wait.
---@param path string  relative to the server's working directory, as of io.open
---@param data string
---@param given tidewire.WriteFileOptions|nil
---@return true|nil ok
---@return string|nil problem
---@return integer|nil code
function files.write(path, data, given)
  local order = misuse.blame_caller(check_write, path, data, given)
  local task = async.this_task("tw.write_file")
  return wait_for(task, core.file_write, path, data, order.mode, order.append, not order.atomic,
    order.fsync)
end

return files
