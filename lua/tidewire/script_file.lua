-- script_file.lua -- running the app's file, and the modules of its folder.
--
-- Sets package.path and cpath for the app's folder, and turns each way in which loading can fail into a
-- problem with file, line and advice. The file's own top level runs right in the caller's coroutine, so it may
-- wait (tw.sleep, …); modules run inside `require`, a C function that nothing can wait across. The scripts are
-- the operator's own and trusted; only precompiled chunks are refused, because bad ones can crash the
-- interpreter. Knows nothing of what a script returns (app.lua does).

local script_file = {}

-- As they were before the first app: the library's own and the system's places.
local SYSTEM_PATH, SYSTEM_CPATH = package.path, package.cpath

--- The folder of a file: "examples/chat" of "examples/chat/app.lua", "." of "app.lua".
---@param file string
---@return string
function script_file.folder(file)
  local folder = file:match("^(.*)/[^/]*$")
  return folder == "" and "/" or folder or "."
end

--- A name below a folder as one path: "public", "examples/chat/public". An absolute name stays as it is.
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

--- Finds Lua modules as the standard searcher does, but loads source only. It goes before that one.
local function source_searcher(name)
  local file = package.searchpath(name, package.path)
  if not file then
    return nil
  end
  local chunk, message = loadfile(file, "t")
  if not chunk then
    error(("error loading module '%s' from file '%s':\n\t%s"):format(name, file, message), 0)
  end
  return chunk, file
end

local function add_searcher()
  for _, searcher in ipairs(package.searchers) do
    if searcher == source_searcher then
      return
    end
  end
  table.insert(package.searchers, 2, source_searcher) -- behind package.preload
end

--- Lets `require` find the modules of the app's folder and of its LuaRocks tree first.
---@param folder string
---@return true|nil ok
---@return string|nil message  package.path cannot express the folder's name
function script_file.set_paths(folder)
  if folder:find("[?;]") then
    return nil, 'the app\'s folder has "?" or ";" in its name, which Lua\'s package.path cannot hold: rename it'
  end
  local places = { "?.lua", "?/init.lua", "lua_modules/share/lua/5.4/?.lua", "lua_modules/share/lua/5.4/?/init.lua" }
  for i, place in ipairs(places) do
    places[i] = script_file.below(folder, place)
  end
  package.path = table.concat(places, ";") .. ";" .. SYSTEM_PATH
  package.cpath = script_file.below(folder, "lua_modules/lib/lua/5.4/?.so") .. ";" .. SYSTEM_CPATH
  add_searcher()
  return true
end

local function exists(file)
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

--- Where and what an error message of Lua's says.
---@param text string
---@param file string  the file that was being loaded, for messages that name none
---@return tidewire.LoadProblem
local function read_message(text, file)
  local module_file, inner = text:match("error loading module '[^']*' from file '([^']*)':\n\t(.*)$")
  file, text = module_file or file, inner or text
  local name, line, message = text:match("^([^\n:]+):(%d+): (.*)$")
  if not name then
    name, message = file, text
  end
  local missing = message:match("^(module '[^']*' not found):\n")
  if missing then
    message = missing .. ": neither in the app's folder, nor in its lua_modules, nor on the system's paths"
  elseif message:find("attempt to load a binary chunk", 1, true) then
    message = PRECOMPILED
  elseif message:find("attempt to yield across a C-call boundary", 1, true) then
    message = message .. " (a module cannot wait while it is loaded; only the app's own file can)"
  end
  return { file = full_name(name, file), line = math.tointeger(tonumber(line)), message = message }
end

-- The traceback of the scripts alone: neither `error` nor this file, nor what called the script.
local function trim_traceback(traceback)
  local kept = {}
  for line in traceback:gmatch("[^\n]+") do
    local is_ours = line:find("tidewire/script_file.lua:", 1, true)
    if is_ours and kept[#kept]:find("[C]: in function 'xpcall'", 1, true) then
      kept[#kept] = nil
      break
    elseif not is_ours and not line:find("[C]: in function 'error'", 1, true) then
      kept[#kept + 1] = line
    end
  end
  return table.concat(kept, "\n")
end

local function message_handler(err)
  return { text = tostring(err), traceback = debug.traceback("", 2):gsub("^\n", "") }
end

local function problem_of(failure, file)
  local problem = read_message(failure.text, file)
  problem.traceback = trim_traceback(failure.traceback)
  if not problem.line and problem.file == file then
    -- error(message, 0), error({}): the script's innermost line is in the traceback
    local escaped = file:gsub("%p", "%%%0")
    problem.line = math.tointeger(tonumber(problem.traceback:match(escaped .. ":(%d+):")))
  end
  return problem
end

local function unreadable(file)
  if script_file.is_folder(file) then
    local inside = file:gsub("/+$", "") .. "/app.lua"
    local hint = exists(inside) and (": did you mean %s?"):format(inside) or "; give the Lua file in it"
    return { file = file, message = "this is a folder" .. hint }
  end
  local _, why = io.open(file, "r")
  why = why and why:gsub("^.*: ", "") or "cannot be read"
  return { file = file, message = "cannot read the file: " .. why }
end

--- Runs a Lua file and returns what it returns. May yield where the file does.
---@param file string
---@return any value
---@return tidewire.LoadProblem|nil problem
function script_file.run(file)
  if not exists(file) or script_file.is_folder(file) then
    return nil, unreadable(file)
  end
  local chunk, message = loadfile(file, "t")
  if not chunk then
    return nil, read_message(message, file)
  end
  local ok, result = xpcall(chunk, message_handler)
  if not ok then
    return nil, problem_of(result, file)
  end
  return result
end

--- Loads a module, as `require` does. Cannot yield.
---@param name string
---@param file string  the file that asks for it, for messages that name none
---@return any value
---@return tidewire.LoadProblem|nil problem  problem.message is "not found" if there is no such module
function script_file.require(name, file)
  local ok, result = xpcall(require, message_handler, name)
  if ok then
    return result
  elseif result.text:sub(1, #name + 20) == ("module '%s' not found:"):format(name) then
    return nil, { file = file, message = "not found" }
  end
  return nil, problem_of(result, script_file.module_file(name) or file)
end

--- The Lua file of a module, if it is one.
---@param name string
---@return string|nil
function script_file.module_file(name)
  return (package.searchpath(name, package.path))
end

--- The Lua file of the loaded module that returned this very table, if one did.
---@param value table
---@return string|nil
function script_file.file_of(value)
  for name, loaded in pairs(package.loaded) do
    if rawequal(loaded, value) then
      return script_file.module_file(name)
    end
  end
  return nil
end

return script_file
