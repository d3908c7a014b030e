-- process.lua -- starts programs and looks at them from outside.
--
-- A child's output goes to files, so it never waits for a test that reads. Owns the child's handle;
-- numbers about it come from /proc. Knows nothing of the child's work.

local uv = require "luv"
local loop = require "support.loop"

---@class support.process
---@field pid integer
---@field exit_code integer? set when it has ended
---@field exit_signal integer? number of the signal that ended it, 0 for none
local Process = {}
Process.__index = Process
Process.__name = "support.process"

local process = {}

--- The whole of a file, or nil when there is none.
---@param path string
---@return string?
function process.read_file(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("a")
  file:close()
  return text
end

--- Write a file whole.
---@param path string
---@param text string
function process.write_file(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
end

--- Replaces a file in one step: a reader finds the old text or this one, never a part of
--- it.
---@param path string
---@param text string
function process.replace_file(path, text)
  process.write_file(path .. ".next", text)
  assert(os.rename(path .. ".next", path))
end

--- The path of an installed program, or nil. Servers' folders are searched as well, which are not
--- on every user's PATH. A snap does not count: it cannot use our folders.
---@param name string
---@return string?
function process.find(name)
  for folder in ((os.getenv("PATH") or "") .. ":/usr/sbin:/sbin"):gmatch("[^:]+") do
    local path = folder .. "/" .. name
    if not path:find("^/snap/") and uv.fs_access(path, "X") then return path end
  end
end

--- A new, empty folder. Remove it with `remove_directory`.
---@return string path
function process.make_directory()
  return assert(uv.fs_mkdtemp((os.getenv("TMPDIR") or "/tmp") .. "/tidewire-test-XXXXXX"))
end

--- Remove a folder that `make_directory` made, with all that is in it. TIDEWIRE_TEST_KEEP=1 keeps
--- it, to look into.
---@param path string
function process.remove_directory(path)
  assert(path:find("/tidewire-test-", 1, true), "not a folder of the tests: " .. path)
  if not os.getenv("TIDEWIRE_TEST_KEEP") then os.execute("rm -rf '" .. path .. "'") end
end

-- What a child's environment is: ours without the settings of a Tidewire that may stand in it, and
-- `changes`.
local function environment(changes)
  local merged = {}
  for name, value in pairs(uv.os_environ()) do
    if not name:find("^TIDEWIRE_") then merged[name] = value end
  end
  for name, value in pairs(changes or {}) do merged[name] = value end
  local list = {}
  for name, value in pairs(merged) do list[#list + 1] = name .. "=" .. value end
  return list
end

---@class support.process_options
---@field args string[]?
---@field directory string? working folder
---@field environment table<string, string>? added to ours
---@field stdout string? path of a file that takes the output; appended to
---@field stderr string?
---@field descriptors integer[]? of ours, which it has from 3 on

--- Start a program.
---@param file string path, or a name to be found on PATH
---@param options support.process_options
---@return support.process
function process.start(file, options)
  local self = setmetatable({}, Process)
  local function open(path)
    return path and assert(uv.fs_open(path, "a", 420)) or nil
  end
  local out, err = open(options.stdout), open(options.stderr)
  local handle, pid = uv.spawn(file, {
    args = options.args or {},
    stdio = { nil, out, err, table.unpack(options.descriptors or {}) },
    cwd = options.directory,
    env = environment(options.environment),
  }, function(code, signal)
    self.exit_code, self.exit_signal = code, signal
    self.handle:close()
  end)
  if out then uv.fs_close(out) end
  if err then uv.fs_close(err) end
  if not handle then error(("cannot start %s: %s"):format(file, pid), 2) end
  self.handle, self.pid = handle, pid
  return self
end

---@class support.result
---@field code integer exit code
---@field signal integer
---@field stdout string
---@field stderr string

--- Run a program to its end. It is killed, and an error thrown, when that does not come in time.
---@param file string
---@param options support.process_options|{ seconds: number? }
---@return support.result
function process.run(file, options)
  local folder = process.make_directory()
  options.stdout, options.stderr = folder .. "/stdout", folder .. "/stderr"
  local child = process.start(file, options)
  local code, signal = child:wait_exit(options.seconds)
  if not code then
    child:signal("sigkill")
    child:wait_exit()
  end
  local result = {
    code = code,
    signal = signal,
    stdout = process.read_file(options.stdout),
    stderr = process.read_file(options.stderr),
  }
  process.remove_directory(folder)
  if not code then
    error(file .. " did not end in time; it said:\n" .. result.stdout .. result.stderr, 2)
  end
  return result
end

---@return boolean
function Process:is_running()
  uv.run("nowait")
  return self.exit_code == nil
end

--- Wait for its end. Where it does not come, the test's output has what the threads are at.
---@param seconds number?
---@return integer? code nil when it still runs
---@return integer? signal
function Process:wait_exit(seconds)
  if not loop.wait_until(function() return self.exit_code end, seconds) then
    io.stderr:write(("\n-- process %d did not end:\n%s\n--\n"):format(self.pid, self:threads()))
  end
  return self.exit_code, self.exit_signal
end

---@param name string "sigterm", "sighup", …
function Process:signal(name)
  if self:is_running() then uv.kill(self.pid, name) end
end

--- Resident memory in KiB.
---@return integer
function Process:rss_kib()
  local status = assert(process.read_file(("/proc/%d/status"):format(self.pid)),
    "the process is gone")
  return math.tointeger(tonumber(status:match("VmRSS:%s*(%d+)")))
end

--- What each of its threads is at, with its pending and blocked signals: for the message of a test
--- that waited in vain.
---@return string
function Process:threads()
  local lines = {}
  local scan = uv.fs_scandir(("/proc/%d/task"):format(self.pid))
  for id in function() return scan and uv.fs_scandir_next(scan) end do
    local folder = ("/proc/%d/task/%s/"):format(self.pid, id)
    local status = process.read_file(folder .. "status") or ""
    local line = { "thread " .. id, "in " .. (process.read_file(folder .. "wchan") or "?") }
    for _, name in ipairs({ "State", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt" }) do
      line[#line + 1] = name .. " " .. (status:match(name .. ":%s*(%S+)") or "?")
    end
    lines[#lines + 1] = table.concat(line, "  ")
  end
  return table.concat(lines, "\n")
end

--- The number of open descriptors.
---@return integer
function Process:fd_count()
  local scan = assert(uv.fs_scandir(("/proc/%d/fd"):format(self.pid)), "the process is gone")
  local count = 0
  while uv.fs_scandir_next(scan) do count = count + 1 end
  return count
end

--- Seconds of CPU time spent so far, user and system.
---@return number
function Process:cpu_seconds()
  local stat = assert(process.read_file(("/proc/%d/stat"):format(self.pid)), "the process is gone")
  local user, system = stat:match("^%d+ %(.*%) %S+" .. (" %S+"):rep(10) .. " (%d+) (%d+)")
  return (tonumber(user) + tonumber(system)) / 100
end

--- Is a sanitizer's runtime in the process? Then memory figures mean little.
---@return boolean
function Process:is_sanitized()
  local maps = process.read_file(("/proc/%d/maps"):format(self.pid)) or ""
  return maps:find("lib[at]san") ~= nil
end

-- An address of /proc/net/tcp or tcp6: groups of four bytes, each in the machine's order.
local function readable_address(hex)
  local bytes = {}
  for group in hex:gmatch("%x%x%x%x%x%x%x%x") do
    for pair in string.pack(">I4", tonumber(group, 16)):reverse():gmatch(".") do
      bytes[#bytes + 1] = pair:byte()
    end
  end
  if #bytes == 4 then return table.concat(bytes, ".") end
  local text = {}
  for index = 1, 16, 2 do text[#text + 1] = ("%x"):format(bytes[index] * 256 + bytes[index + 1]) end
  return table.concat(text, ":")
end

--- The TCP addresses on which the process listens.
---@return { host: string, port: integer }[] host: "127.0.0.1", "0:0:0:0:0:0:0:1"
function Process:listening()
  local own = {}
  local folder = ("/proc/%d/fd"):format(self.pid)
  local scan = assert(uv.fs_scandir(folder), "the process is gone")
  for name in function() return (uv.fs_scandir_next(scan)) end do
    local inode = (uv.fs_readlink(folder .. "/" .. name) or ""):match("^socket:%[(%d+)%]")
    if inode then own[inode] = true end
  end
  local found = {}
  for _, table_name in ipairs({ "tcp", "tcp6" }) do
    for line in (process.read_file("/proc/net/" .. table_name) or ""):gmatch("[^\n]+") do
      local hex, port, inode =
        line:match("^%s*%d+: (%x+):(%x+) %x+:%x+ 0A %S+ %S+ %S+%s+%d+%s+%d+ (%d+)")
      if hex and own[inode] then
        found[#found + 1] = { host = readable_address(hex), port = tonumber(port, 16) }
      end
    end
  end
  return found
end

return process
