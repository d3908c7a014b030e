-- path_spec.lua -- a client at the other end of a network that loses packets, delays them, and is
-- cut: two network namespaces, with a program of the kit between them.
--
-- Needs root, who makes the namespaces. The kernel's own TCP has both ends.

local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local uv = require "luv"

local APP = [[
local record = require "record"
return {
  endpoints = {
    ["/echo"] = { handle_message = function(conn, message, kind) conn:send(message, kind) end },
    ["/count"] = {
      ping_period = 0, pong_period = 3600, max_backlog = "16M",
      on_start = function(conn)
        local number = 0
        conn:every(0.002, function()
          number = number + 1
          conn:send(("%06d"):format(number) .. ("x"):rep(1000))
          if number == 100 then record("half") end
          if number == 200 then
            record("sent")
            conn:close(1000)
          end
        end)
      end,
    },
    ["/dead"] = {
      ping_period = 0.1, pong_period = 1,
      on_start = function() record("start") end,
      on_close = function(conn, code) record("close", code) end,
    },
  },
}
]]

-- A client that prints what came of it.
local CLIENT = [[
import asyncio, random, sys, websockets

async def echo(ws):
    draw = random.Random(7)
    for number in range(40):
        message = draw.randbytes(draw.choice([0, 1, 125, 126, 1400, 20000]))
        await ws.send(message)
        assert await ws.recv() == message, number
    print("echoed")

async def count(ws):
    number = 0
    async for message in ws:
        number += 1
        assert message == "%06d" % number + "x" * 1000, number
    print("counted", number, ws.close_code)

async def dead(ws):
    await asyncio.sleep(600)

async def main():
    path = sys.argv[1]
    async with websockets.connect("ws://10.199.0.1:8080/" + path, ping_interval=None,
                                  open_timeout=60, close_timeout=60) as ws:
        await {"echo": echo, "count": count, "dead": dead}[path](ws)

asyncio.run(main())
]]

local PYTHON = "/usr/bin/python3"
local NAMES = { ("tw%da"):format(uv.os_getpid()), ("tw%db"):format(uv.os_getpid()) }

local function ip(...)
  local result = process.run("ip", { args = { ... } })
  return result.code == 0, result.stderr
end

local function find_reason()
  if uv.getuid() ~= 0 then return "only root can make network namespaces" end
  if not uv.fs_access("/dev/net/tun", "RW") then return "there is no /dev/net/tun" end
  local good, fault = ip("netns", "add", NAMES[1])
  if not good then return "there are no network namespaces: " .. fault end
  local runs, why = ip("netns", "exec", NAMES[1], "true")
  ip("netns", "del", NAMES[1])
  if not runs then return "no program runs in a network namespace: " .. why end
end

describe("a network that loses and delays packets", function()
  local reason = find_reason()
  if reason then return pending(reason .. ": nothing of this is tried here") end

  local folder, link, app, client

  setup(function()
    folder = process.make_directory()
    process.write_file(folder .. "/client.py", CLIENT)
    for _, name in ipairs(NAMES) do assert.is_true(ip("netns", "add", name)) end
    link = process.start(PYTHON, {
      args = { "tests/support/lossy_link.py", NAMES[1], NAMES[2], "10", "5", "1" },
      stdout = folder .. "/link", stderr = folder .. "/errors",
    })
    assert.is_truthy(loop.wait_until(function()
      return process.read_file(folder .. "/link"):find("ready")
    end), process.read_file(folder .. "/errors"))
    app = server.start({
      app = APP, listen = { "10.199.0.1:8080" },
      shell = ('exec ip netns exec %s "$0" "$@";'):format(NAMES[1]),
      environment = { TIDEWIRE_TLS_CERTIFICATE = "", TIDEWIRE_TLS_KEY = "" },
    })
  end)

  teardown(function()
    if client and client:is_running() then client:signal("sigkill") end
    app:stop()
    link:signal("sigterm")
    link:wait_exit()
    for _, name in ipairs(NAMES) do ip("netns", "del", name) end
    process.remove_directory(folder)
  end)

  local function start_client(path)
    process.write_file(folder .. "/stdout", "")
    process.write_file(folder .. "/stderr", "")
    client = process.start("ip", {
      args = { "netns", "exec", NAMES[2], PYTHON, folder .. "/client.py", path },
      stdout = folder .. "/stdout", stderr = folder .. "/stderr",
    })
  end

  local function result()
    client:wait_exit()
    return process.read_file(folder .. "/stdout") .. process.read_file(folder .. "/stderr")
  end

  --- Cuts the path, or joins it again, and waits until the program says so.
  local function change(name, word)
    local before = select(2, process.read_file(folder .. "/link"):gsub(word, ""))
    link:signal(name)
    assert.is_truthy(loop.wait_until(function()
      return select(2, process.read_file(folder .. "/link"):gsub(word, "")) > before
    end))
  end

  it("delivers every message whole", function()
    start_client("echo")
    assert.equal("echoed\n", result())
  end)

  it("delivers in order what was sent while the path was cut", function()
    start_client("count")
    app:wait_event("half", 1)
    change("sigusr1", "cut")
    app:wait_event("sent", 1)
    change("sigusr2", "joined")
    assert.equal("counted 200 1000\n", result())
  end)

  it("closes a connection whose client cannot be reached any more", function()
    start_client("dead")
    app:wait_event("start", 1)
    change("sigusr1", "cut")
    assert.same({ "close", 4408, n = 2 }, app:wait_event("close", 1))
    change("sigusr2", "joined")
  end)
end)
