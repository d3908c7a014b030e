-- half_closed_spec.lua -- a client that ends its direction of TCP, as `printf … | socat` and many
-- libraries do, still gets what is on its way: answers, files, queued messages and the Close frame.
-- A time limit bounds it.

local client = require "support.client"
local frames = require "support.frames"
local http = require "support.http"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
  local record, tw = require "record", require "tidewire"
  local go
  return {
    limits = { LIMITS },
    defaults = {
      max_backlog = "64M",
      on_close = function(conn, code, reason) record("close", code, reason) end,
      handle_message = function(conn, message)
        local count, bytes, close = message:match("^(%d+) of (%d+) ?(%a*)$")
        if not count then return conn:send(message) end
        for index = 1, tonumber(count) do
          conn:send(tostring(index) .. ("x"):rep(tonumber(bytes)))
        end
        record("queued")
        if close == "close" then conn:close(4000, "bye") end
      end,
    },
    endpoints = { ["/ws"] = {} },
    http = {
      ["GET /late"] = function()
        record("asked")
        tw.await(function(done) go = done end)
        record("answers")
        return ("late "):rep(20)
      end,
      ["GET /go"] = function() go() return 204 end,
      ["GET /never"] = function() record("asked") tw.await(function() end) end,
      ["GET /large"] = function() return ("large"):rep(1600 << 10) end,
      ["/files"] = { static = "public" },
    },
  }
]]

local LARGE = ("0123456789abcdef"):rep(1 << 19) -- 8 MiB

local function start(limits)
  return server.start({
    app = (APP:gsub("LIMITS", limits or "")), files = { ["public/large.bin"] = LARGE }, workers = 1,
  })
end

-- The same request as `printf 'GET …' | socat - TCP:…` makes it.
local function ask(app, path)
  local peer = assert(stream.connect(app.addresses[1]))
  peer:write(("GET %s HTTP/1.1\r\nHost: x\r\n\r\n"):format(path))
  assert.is_true(peer:flush())
  peer:half_close()
  return peer
end

describe("a client that ends its direction", function()
  after_each(stream.close_all)

  it("gets the answer of a route that takes its time", function()
    local app <close> = start()
    local peer = ask(app, "/late")
    app:wait_event("asked")
    app:http("/never-mind") -- a turn of the loop, in which the end is seen
    assert.equal(204, app:http("/go").status)
    local response = assert(http.read_response(peer))
    assert.same({ 200, ("late "):rep(20) }, { response.status, response.body })
    assert.equal("eof", peer:wait_end())
  end)

  it("gets a large answer and a large file to their ends", function()
    local app <close> = start()
    for path, body in pairs({
      ["/large"] = ("large"):rep(1600 << 10), ["/files/large.bin"] = LARGE,
    }) do
      local peer = assert(stream.connect(app.addresses[1], { receive_buffer = 4096 }))
      peer:pause() -- so that the end is seen while the answer is on its way
      peer:write(("GET %s HTTP/1.1\r\nHost: x\r\n\r\n"):format(path))
      peer:flush()
      peer:half_close()
      app:http("/none")
      app:http("/none")
      peer:catch_up()
      local response = assert(http.read_response(peer, nil, loop.patience * 4))
      assert.equal(200, response.status)
      assert.is_true(response.body == body, "another body")
      assert.equal("eof", peer:wait_end())
    end
  end)

  -- Takes what comes; returns how many messages of `bytes` and a number came, and the Close frame's
  -- code.
  local function drain(ada, bytes)
    ada.auto_close = false
    ada.stream:catch_up()
    local count = 0
    while true do
      local message, kind, code = ada:receive(loop.patience * 4)
      if not message then return count, kind, code end
      count = count + 1
      assert.is_true(message == tostring(count) .. ("x"):rep(bytes), "another message")
    end
  end

  local function connect(app)
    local ada = app:connect("/ws", { receive_buffer = 4096 })
    ada.stream:pause()
    return ada
  end

  it("after its Close frame gets queued messages, and the answer to the frame", function()
    local app <close> = start()
    local ada = connect(app)
    ada:send_text("128 of 65536")
    app:wait_event("queued")
    ada:send_close(3000, "enough")
    ada.stream:flush()
    ada.stream:half_close()
    assert.same({ "close", 3000, "enough", n = 3 }, app:wait_event("close"))
    assert.same({ 128, "close", 3000 }, { drain(ada, 65536) })
    assert.equal("eof", ada.stream:wait_end())
    assert.equal(1, #app:events("close"))
  end)

  it("without a Close frame gets queued messages", function()
    local app <close> = start()
    local ada = connect(app)
    ada:send_text("128 of 65536")
    app:wait_event("queued")
    ada.stream:half_close()
    assert.equal(1006, app:wait_event("close")[2])
    assert.same({ 128, "end", 1006 }, { drain(ada, 65536) })
    assert.equal("eof", ada.stream.ended)
    assert.equal(1, #app:events("close"))
  end)

  it("gets the Close frame that the script has queued behind much else", function()
    local app <close> = start()
    local ada = connect(app)
    ada:send_text("32 of 65536 close") -- which has 5 seconds for its way
    app:wait_event("queued")
    ada.stream:half_close()
    assert.same({ 32, "close", 4000 }, { drain(ada, 65536) })
    assert.equal("eof", ada.stream:wait_end())
  end)

  it("at once after its messages gets their answers", function()
    local app <close> = start()
    local ada = app:connect("/ws")
    local batch = {}
    for index = 1, 500 do batch[index] = frames.encode({ payload = "m" .. index }) end
    ada:send_raw(table.concat(batch))
    ada.stream:half_close()
    for index, message in ipairs(ada:receive_many(500)) do assert.equal("m" .. index, message) end
    assert.equal("eof", ada.stream:wait_end())
  end)

  it("and sends handshake, messages, Close frame and end in one write, gets all answers", function()
    local app <close> = start()
    local words = frames.encode({ payload = "one" }) .. frames.encode({ payload = "two" })
    for _, last in ipairs({
      "", frames.encode({ opcode = "close", payload = frames.close_payload(3000) }),
    }) do
      local peer = assert(stream.connect(app.addresses[1]))
      peer:write(client.handshake("/ws") .. words .. last)
      assert.is_true(peer:flush())
      peer:half_close()
      assert.equal("eof", peer:wait_end())
      assert.equal("\x81\3one\x81\3two" .. (last ~= "" and "\x88\2\x0b\xb8" or ""),
        peer:peek():match("\r\n\r\n(.*)"))
    end
  end)

  it("behind a request and a handshake in one write, gets its answers and leaves", function()
    local app <close> = start()
    local peer = assert(stream.connect(app.addresses[1]))
    peer:write("GET /late HTTP/1.1\r\nHost: x\r\n\r\n" .. client.handshake("/ws")
      .. frames.encode({ payload = "one" }))
    assert.is_true(peer:flush())
    peer:half_close()
    app:wait_event("asked")
    app:http("/never-mind") -- a turn of the loop, in which the end is seen
    assert.equal(204, app:http("/go").status)
    assert.equal("eof", peer:wait_end())
    assert.equal("\x81\3one",
      peer:peek():match("HTTP/1.1 200.*\r\n\r\n.*HTTP/1.1 101.*\r\n\r\n(.*)"))
    assert.equal(1006, app:wait_event("close")[2])
  end)

  it("is not waited for longer than limits.half_closed_seconds", function()
    local app <close> = start("half_closed_seconds = 0.2")
    local before = app.process:fd_count()
    local peer = ask(app, "/never")
    assert.is_truthy(peer:wait_end())
    local ada = connect(app)
    ada:send_text("128 of 65536")
    app:wait_event("queued")
    ada.stream:half_close()
    assert.equal(1006, app:wait_event("close")[2])
    assert.equal(before, loop.ask_until(function() return app.process:fd_count() end, before))
  end)

  it("in the middle of its request, or without one, is let go", function()
    local app <close> = start("handshake_seconds = 3600")
    for _, bytes in ipairs({
      "", "GET /", "POST /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc",
    }) do
      local peer = assert(stream.connect(app.addresses[1]))
      peer:write(bytes)
      peer:flush()
      peer:half_close()
      assert.is_truthy(peer:wait_end())
    end
  end)
end)
