-- reloads.lua -- new code for a server under test: writes files, sends SIGHUP, and reads the result
-- from the log.
--
-- Reads each line of the log once. Knows the log of Tidewire, not its internals.

local loop = require "support.loop"
local process = require "support.process"

---@class support.outcome
---@field generation integer  of the code that runs now
---@field failed boolean
---@field line string         of the log

local reloads = {}

-- How far each server's log was read, and the outcomes in it.
local known = setmetatable({}, { __mode = "k" })

--- All outcomes so far, in order.
---@param app support.server
---@return support.outcome[]
function reloads.outcomes(app)
  local mine = known[app] or { at = 0, list = {} }
  known[app] = mine
  local file = assert(io.open(app.directory .. "/stderr", "rb"))
  file:seek("set", mine.at)
  for line in file:lines("L") do
    if line:sub(-1) ~= "\n" then break end
    mine.at = mine.at + #line
    local event, generation = line:match(" event=(reload%a*_?%a*) generation=(%d+)")
    if event == "reloaded" or event == "reload_failed" then
      table.insert(mine.list,
        { generation = tonumber(generation), failed = event ~= "reloaded", line = line })
    end
  end
  file:close()
  return mine.list
end

--- Puts a new app in place, or several files. Workers may be reading them for an earlier reload.
---@param app support.server
---@param files string|table<string, string>  the app's text, or texts by their path in the folder
function reloads.write(app, files)
  for path, text in pairs(type(files) == "string" and { ["app.lua"] = files } or files) do
    process.replace_file(app.directory .. "/" .. path, text)
  end
end

--- Writes it and sends SIGHUP. Returns the number of the outcome to wait for.
---@param app support.server
---@param files string|table<string, string>|nil  nil: what is there
---@return integer
function reloads.send(app, files)
  local number = #reloads.outcomes(app) + 1
  reloads.write(app, files or {})
  app:signal("sighup")
  return number
end

--- Waits for an outcome.
---@param app support.server
---@param number integer
---@return support.outcome
function reloads.wait(app, number)
  local outcome = loop.wait_until(function() return reloads.outcomes(app)[number] end)
  return outcome or error("nothing has come of a reload", 2)
end

--- Loads and activates new code. Returns its generation.
---@param app support.server
---@param files string|table<string, string>|nil
---@return integer
function reloads.good(app, files)
  local outcome = reloads.wait(app, reloads.send(app, files))
  if outcome.failed then error(outcome.line, 2) end
  return outcome.generation
end

--- New code is refused. Returns why, with its lines as lines.
---@param app support.server
---@param files string|table<string, string>|nil
---@return string
function reloads.bad(app, files)
  local outcome = reloads.wait(app, reloads.send(app, files))
  if not outcome.failed then error("it took over: " .. outcome.line, 2) end
  return (outcome.line:gsub("\\n", "\n"):gsub("\\t", "\t"))
end

return reloads
