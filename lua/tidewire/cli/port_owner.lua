-- port_owner.lua -- which process listens on an address that is in use?
--
-- For the message of a start that has failed: reads all of /proc. The kernel's tables in
-- /proc/self/net name sockets by their inodes, and so do the descriptors in /proc/PID/fd. Only root
-- can read those of other users' processes.

local uv = require "luv"

--- An address of IPv4 that is mapped into IPv6 is kept as IPv4.
local function plain(ip)
  return #ip == 16 and ip:sub(1, 12) == ("\0"):rep(10) .. "\xff\xff" and ip:sub(13) or ip
end

local function words_of(text)
  return (text:gsub("(%x+):?", function(word) return (">I2"):pack(tonumber(word, 16)) end))
end

--- The 4 or 16 bytes of an IP address, as inet_ntop(3) writes it.
local function ip_of(text)
  if not text:find(":", 1, true) then
    return (text:gsub("(%d+)%.?", function(byte) return string.char(tonumber(byte)) end))
  end
  local head, tail = text:gsub("%%.*", ""):match("^(.-)::(.*)$")
  local first, last = words_of(head or text), words_of(tail or "")
  return plain(first .. ("\0"):rep(16 - #first - #last) .. last)
end

--- An address of the tables: words of 32 bits in the machine's order.
local function ip_of_table(hex)
  return plain((hex:gsub("%x%x%x%x%x%x%x%x", function(word)
    return ("=I4"):pack(tonumber(word, 16))
  end)))
end

--- Can only one of them be bound?
local function collide(one, other)
  return one == other or not one:find("[^\0]") or not other:find("[^\0]")
end

local function lines_of(path)
  local file = io.open(path)
  return file and file:lines() or function() end
end

---@param inodes table<string, true>
local function find_tcp(inodes, path, ip, port)
  for line in lines_of(path) do
    local fields = {}
    for field in line:gmatch("%S+") do fields[#fields + 1] = field end
    local theirs, their_port = (fields[2] or ""):match("^(%x+):(%x+)$")
    local listens = fields[4] == "0A"
    if theirs and listens and tonumber(their_port, 16) == port
      and collide(ip, ip_of_table(theirs)) then
      inodes[fields[10]] = true
    end
  end
end

local function find_unix(inodes, path)
  local LISTENS <const> = 0x10000
  for line in lines_of("/proc/self/net/unix") do
    local flags, inode, theirs = line:match("^%S+ %S+ %S+ (%x+) %S+ %S+ +(%d+) (.*)$")
    if theirs == path and tonumber(flags, 16) & LISTENS ~= 0 then
      inodes[inode] = true
    end
  end
end

local function names_of(folder)
  local entries, names = uv.fs_scandir(folder), {}
  local name = entries and uv.fs_scandir_next(entries)
  while name do
    names[#names + 1] = name
    name = uv.fs_scandir_next(entries)
  end
  return names
end

--- Has this process a descriptor of one of the sockets?
local function has_socket(pid, inodes)
  local folder = ("/proc/%d/fd/"):format(pid)
  for _, fd in ipairs(names_of(folder)) do
    local link = uv.fs_readlink(folder .. fd)
    if link and inodes[link:match("^socket:%[(%d+)%]$")] then
      return true
    end
  end
  return false
end

--- The process of the smallest number.
local function find_process(inodes)
  local pids = {}
  for _, name in ipairs(names_of("/proc")) do
    pids[#pids + 1] = math.tointeger(tonumber(name))
  end
  table.sort(pids)
  for _, pid in ipairs(pids) do
    if has_socket(pid, inodes) then
      return pid
    end
  end
end

--- A part of a sentence: "nginx, process 812, listens there: …"; "" where no process is found.
---@param address string  "127.0.0.1:8080", "[::1]:8080" or "unix:/path"
---@return string
return function(address)
  local inodes, path = {}, address:match("^unix:(.*)$")
  if path then
    find_unix(inodes, path)
  else
    local host, port = address:match("^%[?(.-)%]?:(%d+)$")
    find_tcp(inodes, "/proc/self/net/tcp", ip_of(host), tonumber(port))
    find_tcp(inodes, "/proc/self/net/tcp6", ip_of(host), tonumber(port))
  end
  if not next(inodes) then
    return ""
  end
  local pid = find_process(inodes)
  if pid == uv.os_getpid() then
    return "this server listens there already: leave one of the two away"
  elseif pid then
    local name = lines_of(("/proc/%d/comm"):format(pid))() or "unknown"
    return ("%s, process %d, listens there: end it, or choose another address with --listen")
      :format(name, pid)
  end
  return "a process of another user listens there; as root, `ss -lxtp` names it"
end
