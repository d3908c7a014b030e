-- script_file.lua -- files of scripts: their folders, and the errors in them.
--
-- Turns each error of loading into a problem with file, line and advice. generation.lua runs the
-- files. Knows nothing of what a script returns.

local inspect = require "tidewire.base.inspect"
local missing = require "tidewire.base.missing"
local suggest = require "tidewire.base.suggest"

local script_file = {}

--- The folder of a file: "examples/chat" of "examples/chat/app.lua", "." of "app.lua".
---@param file string
---@return string
function script_file.folder(file)
  local folder = file:match("^(.*)/[^/]*$")
  return folder == "" and "/" or folder or "."
end

--- A name below a folder as one path: "public", "examples/chat/public". An absolute name stays as
--- it is.
---@param folder string
---@param name string
---@return string
function script_file.below(folder, name)
  if name:sub(1, 1) == "/" or folder == "." then
    return name
  end
  return (folder == "/" and "/" or folder .. "/") .. name
end

local PRECOMPILED = "this is a precompiled chunk; give the Lua source"

--- Can it be opened?
---@param file string
---@return boolean
function script_file.exists(file)
  local handle = io.open(file, "r")
  if handle then
    handle:close()
  end
  return handle ~= nil
end

--- Is it a folder? (Opening one succeeds, reading does not.)
---@param path string
---@return boolean
function script_file.is_folder(path)
  local handle = io.open(path, "r")
  if not handle then
    return false
  end
  local _, _, code = handle:read(1)
  handle:close()
  return code == 21 -- EISDIR
end

-- Lua shortens long file names in messages to "...end/of/name.lua".
local function full_name(name, file)
  local tail = name:match("^%.%.%.(.+)$")
  return tail and file:sub(-#tail) == tail and file or name
end

--- The file, line and text of an error message of Lua.
---@param text string
---@param file string  the file that was being loaded, for messages that name none
---@return tidewire.LoadProblem
function script_file.read_message(text, file)
  local module_file, inner =
    text:match("error loading module '[^']*' from file '([^']*)':\n\t(.*)$")
  file, text = module_file or file, inner or text
  local name, line, message = text:match("^([^\n:]+):(%d+): (.*)$")
  if not name then
    name, message = file, text
  end
  local absent = message:match("^(module '[^']*' not found):\n")
  if absent then
    message =
      absent .. ": neither in the app's folder, nor in its lua_modules, nor on the system's paths"
        .. suggest.hint(absent:match("'(.*)'"), { "tidewire", "luv" })
  elseif message:find("attempt to load a binary chunk", 1, true) then
    message = PRECOMPILED
  end
  return { file = full_name(name, file), line = math.tointeger(tonumber(line)), message = message }
end

--- The frames of scripts in a traceback: without those of the library, of C, and of the callers of
--- the script.
---@param traceback string
---@return string
function script_file.own_frames(traceback)
  local kept, before = {}, ""
  for line in traceback:gmatch("[^\n]+") do
    local is_ours = line:find("lua/tidewire/", 1, true)
    if is_ours and before:find("[C]: in function 'xpcall'", 1, true) then
      break
    elseif not is_ours and not line:find("^%s*%[C%]:") then
      kept[#kept + 1] = line
    end
    before = line
  end
  return #kept > 1 and table.concat(kept, "\n") or "" -- the first line is the heading
end

--- A message handler for xpcall: text and traceback.
---@param err any
---@return { text: string, traceback: string }
function script_file.message_handler(err)
  return {
    text = missing.explain(inspect.thrown(err)), traceback = debug.traceback("", 2):gsub("^\n", ""),
  }
end

--- The problem for an error that the message handler has caught.
---@param failure { text: string, traceback: string }|string
---@param file string  as of read_message
---@return tidewire.LoadProblem
function script_file.problem_of(failure, file)
  if type(failure) ~= "table" then -- Lua calls no message handler for an error of memory
    failure = { text = tostring(failure), traceback = "" }
  end
  local problem = script_file.read_message(failure.text, file)
  problem.traceback = script_file.own_frames(failure.traceback)
  if not problem.line and problem.file == file then
    -- error(message, 0), error({}): the script's innermost line is in the traceback
    local escaped = file:gsub("%p", "%%%0")
    problem.line = math.tointeger(tonumber(problem.traceback:match(escaped .. ":(%d+):")))
  end
  return problem
end

--- Why a file cannot be run; nil if it can be read.
---@param file string
---@return tidewire.LoadProblem|nil
function script_file.unreadable(file)
  if script_file.exists(file) and not script_file.is_folder(file) then
    return nil
  end
  if script_file.is_folder(file) then
    local inside = file:gsub("/+$", "") .. "/app.lua"
    local hint = script_file.exists(inside) and (": did you mean %s?"):format(inside)
      or "; give the Lua file in it"
    return { file = file, message = "this is a folder" .. hint }
  end
  local _, why = io.open(file, "r")
  why = why and why:gsub("^.*: ", "") or "cannot be read"
  return { file = file, message = "cannot read the file: " .. why }
end

return script_file
