-- new.lua -- `tidewire new DIR`: a small app that runs, with a spec that passes.
--
-- Writes the files of lua/templates, which the build embeds in the binary. Overwrites no file.

local templates = require "tidewire.templates"
local uv = require "luv"

local CLEAN <const>, FAILED <const>, USAGE <const> = "0", "1", "2" -- exit codes

--- "EACCES: permission denied: /x" as "Permission denied".
local function why(problem)
  return (problem:match("^%u%w*: ([^:]*)"):gsub("^%l", string.upper))
end

--- Makes a directory, or finds it empty. Returns nil and why that failed.
local function make_folder(folder)
  local made, problem, name = uv.fs_mkdir(folder, 511) -- 0777
  if made then
    return true
  end
  local entries, count = nil, 0
  if name == "EEXIST" then
    entries, problem = uv.fs_scandir(folder)
  end
  while entries and uv.fs_scandir_next(entries) do
    count = count + 1
  end
  if count > 0 then
    return nil, "exists and is not empty; choose another folder"
  end
  return entries, problem and why(problem)
end

--- Makes the directories of a file. Returns nil and a problem if one cannot be made.
local function make_parents(path)
  for slash in path:gmatch("()/") do
    local parent = path:sub(1, slash - 1)
    local ok, problem, name = uv.fs_mkdir(parent == "" and "/" or parent, 511)
    if not ok and name ~= "EEXIST" then
      return nil, problem
    end
  end
  return true
end

local function write_file(path, bytes)
  local ok, problem = make_parents(path)
  if not ok then
    return nil, problem
  end
  local fd
  fd, problem = uv.fs_open(path, "wx", 438) -- 0666
  if not fd then
    return nil, problem
  end
  local at = 0 -- a full disk takes a part of them; the write after that one says why
  while at < #bytes do
    local count
    count, problem = uv.fs_write(fd, bytes:sub(at + 1))
    if not count then
      uv.fs_close(fd)
      return nil, problem
    end
    at = at + count
  end
  return uv.fs_close(fd)
end

--- A word so that a shell reads it as one.
local function quote(word)
  return word:find("^[%w_./+,:@%%-]+$") and word or "'" .. word:gsub("'", "'\\''") .. "'"
end

--- Not print, which writes at once: where what reads the lines has ended, that ends this process
--- before all files are there.
local function say(format, ...)
  io.write(format:format(...), "\n")
end

local function complain(...)
  io.stderr:write("tidewire: new: ", ...)
  io.stderr:write("\n")
end

--- Writes the templates into a new or empty directory, and prints how to run them.
---@param folder string
---@param program string  the name under which Tidewire was called
---@return string         the exit code
return function(folder, program)
  local ok, problem = make_folder(folder)
  if not ok then
    complain(folder, ": ", problem)
    return USAGE
  end
  for _, file in ipairs(templates) do
    local path = folder .. "/" .. file.name
    ok, problem = write_file(path, file.bytes)
    if not ok then
      complain(path, ": ", why(problem))
      return FAILED
    end
    say("wrote %s", path)
  end
  say("\nRun it:   %s run %s", quote(program), quote(folder))
  say "          then open http://127.0.0.1:8080/"
  say("Test it:  cd %s && busted", quote(folder))
  return CLEAN
end
