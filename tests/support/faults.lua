-- faults.lua -- lets system calls of the program under test fail, while it runs.
--
-- faults.c, which the build makes and the program preloads, reads the numbers from a file.
--
--     local app <close> = server.start(faults.options({ app = APP }))
--     faults.set(app, "send", "ENOBUFS", 3)

local process = require "support.process"
local uv = require "luv"

local faults = {}

local LIBRARY = (os.getenv("TIDEWIRE_BUILD_DIR") or "build/debug") .. "/tests/faults.so"

-- Where each number is in the file, in units of four bytes.
local PLACES = {
  send = 0, receive = 3, accept = 6, send_bytes = 9, clock_seconds = 10, send_waits = 11,
  spawn_waits = 12, spawn_begun = 13, spawn_done = 14,
}
local SIZE = 4 * 15

-- Linux's numbers, which are the same on most processors.
local ERRORS = {
  EPERM = 1, EINTR = 4, EAGAIN = 11, ENOMEM = 12, ENFILE = 23, EMFILE = 24, EPIPE = 32, EPROTO = 71,
  ENETDOWN = 100, ECONNABORTED = 103, ECONNRESET = 104, ENOBUFS = 105, ETIMEDOUT = 110,
  EHOSTUNREACH = 113,
}

--- The options of a server whose calls can fail.
---@param options support.server_options
---@return support.server_options
function faults.options(options)
  local library = LIBRARY
  if not library:find("^/") then library = uv.cwd() .. "/" .. library end
  options.environment = options.environment or {}
  options.environment.LD_PRELOAD = library
  options.environment.TIDEWIRE_FAULTS = "faults"
  -- a sanitizer's own library wants to be the first
  options.environment.ASAN_OPTIONS = (os.getenv("ASAN_OPTIONS") or "")
    .. ":verify_asan_link_order=0"
  local prepare = options.prepare
  options.prepare = function(folder)
    process.write_file(folder .. "/faults", ("\0"):rep(SIZE))
    if prepare then prepare(folder) end
  end
  return options
end

local function write(app, place, ...)
  local file = assert(io.open(app.directory .. "/faults", "r+b"))
  file:seek("set", 4 * place)
  file:write(string.pack("=" .. ("i4"):rep(select("#", ...)), ...))
  file:close()
end

--- The next calls fail.
---@param app support.server
---@param call "send"|"receive"|"accept"
---@param name string such as "ENOBUFS"
---@param count integer how many calls
function faults.set(app, call, name, count)
  write(app, PLACES[call], (assert(ERRORS[name], name)))
  write(app, PLACES[call] + 1, count)
end

local function read(app, place)
  return (string.unpack("=i4", process.read_file(app.directory .. "/faults"), 4 * place + 1))
end

--- How many of these calls have failed so far.
---@param app support.server
---@param call "send"|"receive"|"accept"
---@return integer
function faults.done(app, call) return read(app, PLACES[call] + 2) end

--- The most bytes that one call sends; 0: no limit.
---@param app support.server
---@param bytes integer
function faults.limit_send(app, bytes) write(app, PLACES.send_bytes, bytes) end

--- Calls of send() do not return, until it is false.
---@param app support.server
---@param waits boolean
function faults.block_send(app, waits) write(app, PLACES.send_waits, waits and 1 or 0) end

--- Calls of posix_spawn() start nothing and do not return, until it is false.
---@param app support.server
---@param waits boolean
function faults.block_spawn(app, waits) write(app, PLACES.spawn_waits, waits and 1 or 0) end

--- How many calls of posix_spawn() have begun, and how many have returned.
---@param app support.server
---@return integer begun
---@return integer done
function faults.spawns(app) return read(app, PLACES.spawn_begun), read(app, PLACES.spawn_done) end

--- Sets the clock of the time of day.
---@param app support.server
---@param seconds integer from the true time
function faults.set_clock(app, seconds) write(app, PLACES.clock_seconds, seconds) end

return faults
