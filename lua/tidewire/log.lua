-- log.lua -- `tw.log`: lines of scripts in the server's log.
--
-- One line each, in the server's format, with the running hook's connection. Fields are sorted by
-- name, tables are written as JSON.

local core = require "tidewire.core"
local inspect = require "tidewire.base.inspect"
local json = require "tidewire.json"
local missing = require "tidewire.base.missing"

local log = {}

--- The names that every line has already.
local reserved = {
  time = true, level = true, worker = true, event = true, conn = true, generation = true,
  message = true,
}

--- Has the value a __tostring?
local function has_text(value)
  local metatable = debug.getmetatable(value)
  return type(metatable) == "table" and rawget(metatable, "__tostring") ~= nil
end

local function plain(value)
  local kind = type(value)
  if kind == "string" or kind == "number" or kind == "boolean" then
    return value
  elseif value ~= nil and not has_text(value) then
    local is_json, text = false, nil
    if kind == "table" then
      is_json, text = pcall(json.encode, value)
    end
    return is_json and text or inspect.line(value)
  end
  local ok, text = pcall(tostring, value)
  return ok and text or ("a %s that cannot be shown"):format(kind)
end

--- A field's name that cannot break the line, and that the line does not have yet.
local function name_of(key, taken)
  local name = plain(key)
  name = tostring(name):gsub("[^%w_%.%-]", "_")
  if name == "" then
    name = "_"
  end
  while taken[name] or reserved[name] do
    name = name .. "_"
  end
  taken[name] = true
  return name
end

local function writer(level)
  return function(message, fields)
    if message == log then
      error(("tw.log.%s: call it with a dot, tw.log.%s(…)"):format(level, level), 2)
    elseif fields ~= nil and type(fields) ~= "table" then
      error(("tw.log.%s: fields must be a table, got %s"):format(level, type(fields)), 2)
    end
    if not core.log_enabled(level) then
      return
    end
    local list = { "message", plain(message) }
    local names, values, taken = {}, {}, {}
    for key, value in pairs(fields or {}) do
      local field = name_of(key, taken)
      names[#names + 1] = field
      values[field] = value
    end
    table.sort(names)
    for _, field in ipairs(names) do
      list[#list + 1] = field
      list[#list + 1] = plain(values[field])
    end
    core.log(level, "script", nil, table.unpack(list))
  end
end

--- Each: `tw.log.info(message, fields)`; fields is a table of strings, numbers, booleans and
--- tables.
---@type fun(message: any, fields?: table<string, any>)
log.debug = writer("debug")
---@type fun(message: any, fields?: table<string, any>)
log.info = writer("info")
---@type fun(message: any, fields?: table<string, any>)
log.warn = writer("warn")
---@type fun(message: any, fields?: table<string, any>)
log.error = writer("error")

missing.watch_module("tw.log", log)

return log
