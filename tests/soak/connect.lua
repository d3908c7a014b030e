-- connect.lua -- clients of tw.connect and a hostile server, for a long time.
--
-- Run:  nice lua5.4 tests/soak/connect.lua SECONDS [SEED]     in the root of the repository
--       TIDEWIRE_BIN=build/asan/tidewire CLIENTS=8 PAUSE=20 …  PAUSE: ms between two rounds
--
-- Prints, every minute and at the end: connections, what came of them, memory (KiB) and
-- descriptors. Ends with 1 when the program has ended or complains.

package.path = "tests/?.lua;" .. package.path

local cjson = require "cjson"
local hostile = require "support.hostile"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"

local seconds, seed = tonumber(arg[1]), tonumber(arg[2]) or os.time()
assert(seconds, "usage: lua5.4 tests/soak/connect.lua SECONDS [SEED]")

local other = hostile.start(seed)
local app = server.start({
  app = hostile.APP, workers = 1,
  environment = {
    HOSTILE = tostring(other.port), CLIENTS = os.getenv("CLIENTS") or "8", ROUNDS = "1000000000",
    PAUSE = os.getenv("PAUSE") or "20",
  },
})
print("seed " .. seed .. ", pid " .. app.pid)

local function memory()
  local status = process.read_file(("/proc/%d/status"):format(app.pid)) or ""
  return tonumber(status:match("VmRSS:%s*(%d+)"))
end

local function descriptors()
  local count = 0
  for _ in io.popen(("ls /proc/%d/fd"):format(app.pid)):lines() do count = count + 1 end
  return count
end

local function report()
  local counts = cjson.decode(app:http("/counts").body)
  local names = {}
  for name in pairs(counts) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do names[i] = ("%s=%d"):format(name, counts[name]) end
  print(("%s memory=%d descriptors=%d %s"):format(os.date("%H:%M:%S"), memory(), descriptors(),
    table.concat(names, ", ")))
  io.stdout:flush()
end

local finish = loop.now() + seconds
while loop.now() < finish do
  loop.pass(math.min(60, math.max(0, finish - loop.now())))
  other.peers, other.requests = {}, {} -- they are of no use here
  if app.process.exit_code then
    print("the program has ended:\n" .. app:log():sub(-20000))
    os.exit(1)
  end
  report()
end
app:stop()
other:close()
print("good")
