-- log.lua -- `tw.log`: lines of scripts in the server's log.
--
-- One line each, in the server's format, with the running hook's connection. Fields are sorted by name.

local core = require "tidewire.core"

local log = {}

--- What every line has already.
local reserved = { time = true, level = true, worker = true, event = true, conn = true, message = true }

local function plain(value)
  local kind = type(value)
  return (kind == "string" or kind == "number" or kind == "boolean") and value or tostring(value)
end

local function writer(level, name)
  return function(message, fields)
    if fields ~= nil and type(fields) ~= "table" then
      error(("tw.log.%s: fields must be a table, got %s"):format(name, type(fields)), 2)
    end
    if not core.log_enabled(level) then
      return
    end
    local list = { "message", plain(message) }
    local names, values = {}, {}
    for key, value in pairs(fields or {}) do
      names[#names + 1] = tostring(key)
      values[tostring(key)] = value
    end
    table.sort(names)
    for _, key in ipairs(names) do
      local name = key:gsub("[^%w_%.%-]", "_") -- a key cannot break the line
      list[#list + 1] = reserved[name] and name .. "_" or name
      list[#list + 1] = plain(values[key])
    end
    core.log(level, "script", nil, table.unpack(list))
  end
end

--- Each: `tw.log.info(message, fields)`; fields is a table of strings, numbers and booleans.
---@type fun(message: any, fields?: table<string, any>)
log.debug = writer(0, "debug")
---@type fun(message: any, fields?: table<string, any>)
log.info = writer(1, "info")
---@type fun(message: any, fields?: table<string, any>)
log.warn = writer(2, "warn")
---@type fun(message: any, fields?: table<string, any>)
log.error = writer(3, "error")

return log
