-- luv_sockets_spec.lua -- servers that a script opens with luv at its top level outlive reloads:
-- the new code gets the socket, and the connections that wait in it.

local reloads = require "support.reloads"
local server = require "support.server"
local stream = require "support.stream"
local uv = require "luv"
local loop = require "support.loop"

--- An app that answers "N" to each that connects, N the number of its code. %s: how it is opened,
--- %s: what comes then.
local APP = [[
local tw, uv = require "tidewire", require "luv"
local function open(make, ...)
  local server = make()
  assert(server:bind(...))
  assert(server:listen(128, function(err)
    assert(not err, err)
    local client = make()
    server:accept(client)
    client:write(tostring(tw.generation), function()
      client:shutdown(function() client:close() end)
    end)
  end))
  return server
end
if tw.worker == 0 then
  %s
end
%s
return {
  handle_message = function(conn, message) conn:send(message .. " of " .. tw.generation) end,
}
]]

--- A port that is free at the moment.
local function free_port()
  local probe = uv.new_tcp()
  assert(probe:bind("127.0.0.1", 0))
  local port = probe:getsockname().port
  probe:close()
  uv.run("nowait")
  return port
end

--- All bytes that a client gets.
local function greeting(address)
  local peer = assert(stream.connect(address))
  assert.equal("eof", peer:wait_end())
  local text = peer:peek()
  peer:close()
  return text
end

--- The ways to open one: the text, and where it is then.
local function ways()
  local port, path = free_port(), os.tmpname() .. ".sock"
  return {
    ["TCP"] = {
      ('open(uv.new_tcp, "127.0.0.1", %d)'):format(port), { host = "127.0.0.1", port = port },
    },
    ["TCP, by functions"] = { ([[
  local s = uv.new_tcp()
  assert(uv.tcp_bind(s, "127.0.0.1", %d))
  assert(uv.listen(s, 16, function()
    local client = uv.new_tcp()
    uv.accept(s, client)
    uv.write(client, tostring(tw.generation), function() uv.close(client) end)
  end))]]):format(port), { host = "127.0.0.1", port = port } },
    ["a pipe"] = { ("open(uv.new_pipe, %q)"):format(path), { path = path } },
  }
end

describe("a server of luv's at the top level", function()
  after_each(stream.close_all)

  for name in pairs(ways()) do
    it("is the new code's after each reload: " .. name, function()
      local opening, address = table.unpack(ways()[name])
      local app <close> = server.start({ app = APP:format(opening, "") })
      local before = app.process:fd_count()
      for generation = 1, 5 do
        assert.equal(tostring(generation), greeting(address))
        assert.equal(tostring(generation), greeting(address))
        assert.equal(generation + 1, reloads.good(app))
      end
      assert.equal("6", greeting(address))
      assert.is_truthy(loop.wait_until(function() return app.process:fd_count() <= before end))
      if address.path then os.remove(address.path) end
    end)

    it("stays the old code's if the new code is discarded or lacks it: " .. name, function()
      local opening, address = table.unpack(ways()[name])
      local app <close> = server.start({ app = APP:format(opening, "") })
      local before = app.process:fd_count()
      for _ = 1, 3 do
        reloads.bad(app, APP:format(opening, 'error("broken")'))
        assert.equal("1", greeting(address))
      end
      assert.is_truthy(loop.wait_until(function() return app.process:fd_count() <= before end))
      reloads.good(app, APP:format("", ""))
      assert.equal("1", greeting(address))
      reloads.good(app, APP:format(opening, ""))
      assert.equal("3", greeting(address))
      if address.path then os.remove(address.path) end
    end)
  end

  it("accepts only when its code is activated, and loses no client that connects before", function()
    local opening, address = table.unpack(ways()["TCP"])
    local app <close> = server.start({ app = APP:format(opening, "") })
    local waiting = APP:format(opening, 'while not io.open("go") do tw.sleep(0.01) end')
    local number = reloads.send(app, { ["app.lua"] = waiting })
    for _ = 1, 20 do assert.equal("1", greeting(address)) end
    local peers = {}
    for i = 1, 20 do peers[i] = assert(stream.connect(address)) end
    reloads.write(app, { ["go"] = "" })
    assert.is_false(reloads.wait(app, number).failed)
    for _, peer in ipairs(peers) do
      assert.equal("eof", peer:wait_end())
      assert.matches("^[12]$", peer:peek())
    end
    assert.equal("2", greeting(address))
  end)

  it("of UDP is the new code's, too", function()
    local port = free_port()
    local text = ([[
local tw, uv = require "tidewire", require "luv"
local socket
if tw.worker == 0 then
  socket = uv.new_udp()
  assert(socket:bind("127.0.0.1", %d))
  assert(socket:recv_start(function(_, data, from)
    if data then socket:send(data .. tw.generation, from.ip, from.port) end
  end))
end
return { handle_message = function() end }
]]):format(port)
    local app <close> = server.start({ app = text })
    local socket, got = uv.new_udp(), nil
    socket:recv_start(function(_, data) got = data or got end)
    local function ask()
      got = nil
      socket:send("hello ", "127.0.0.1", port)
      loop.wait_until(function() return got end)
      return got
    end
    assert.equal("hello 1", ask())
    reloads.good(app)
    assert.equal("hello 2", ask())
    reloads.bad(app, text .. "error('broken')")
    assert.equal("hello 2", ask())
    socket:close()
  end)

  it("that the script keeps itself is left alone", function()
    local port = free_port()
    local app <close> = server.start({ app = APP:format(([[
  local kept = tw.keep("server", {})
  if not kept.server then
    kept.server = open(uv.new_tcp, "127.0.0.1", %d)
  end]]):format(port), "") })
    local address = { host = "127.0.0.1", port = port }
    assert.equal("1", greeting(address))
    reloads.good(app)
    assert.equal("1", greeting(address))
  end)

  it("whose address another process has is an error with the reason", function()
    local other = uv.new_tcp()
    assert(other:bind("127.0.0.1", 0))
    assert(other:listen(1, function() end))
    local opening = ('open(uv.new_tcp, "127.0.0.1", %d)'):format(other:getsockname().port)
    local app <close> = server.start({ app = APP:format("", "") })
    assert.matches("EADDRINUSE", reloads.bad(app, APP:format(opening, "")))
    assert.matches("EADDRINUSE", reloads.bad(app, APP:format(opening, "")))
    other:close()
    uv.run("nowait")
    assert.is_not_nil(reloads.good(app))
  end)
end)
