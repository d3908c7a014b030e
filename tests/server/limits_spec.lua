-- limits_spec.lua -- limits on connections, on the time of a handshake and on the size of a
-- request; and that a released place can be used again.

local client = require "support.client"
local loop = require "support.loop"
local server = require "support.server"
local stream = require "support.stream"

local ECHO = "handle_message = function(conn, message) conn:send(message) end"

-- Tries until a connection is accepted again.
local function wait_for_place(app, path)
  local deadline = loop.now() + loop.patience
  repeat
    local ada = client.connect(app:url(path))
    if ada then return ada end
    loop.pass(0.02)
  until loop.now() > deadline
  error("no place was freed")
end

describe("the number of connections", function()
  after_each(stream.close_all)

  local function assert_refused(app, path)
    local none, status, headers, body = client.connect(app:url(path))
    assert.is_nil(none)
    assert.equal(503, status)
    assert.is_number(tonumber(headers["retry-after"]), "no Retry-After")
    assert.is_true(#body > 0)
  end

  it("is limited by the handler's max_connections, for each endpoint by itself", function()
    local app <close> = server.start({ app = ([[
      return { endpoints = { ["/two"] = { max_connections = 2, ECHO }, ["/other"] = { ECHO } } }
    ]]):gsub("ECHO", ECHO) })
    local ada, bob = app:connect("/two"), app:connect("/two")
    assert_refused(app, "/two")
    assert_refused(app, "/two")
    assert.equal("free", (app:connect("/other"):ask("free")))
    assert.equal("a", (ada:ask("a")))
    assert.equal("b", (bob:ask("b")))
  end)

  it("is limited by limits.connections for the whole server", function()
    local app <close> = server.start({ app = ([[
      return { limits = { connections = 3 }, endpoints = { ["/a"] = { ECHO }, ["/b"] = { ECHO } } }
    ]]):gsub("ECHO", ECHO) })
    local first = { app:connect("/a"), app:connect("/b"), app:connect("/a") }
    assert_refused(app, "/a")
    assert_refused(app, "/b")
    assert.equal("x", (first[2]:ask("x")))
  end)

  it("counts a place as free however the connection ended", function()
    local app <close> =
      server.start({ app = ("return { max_connections = 1, ECHO }"):gsub("ECHO", ECHO) })
    local endings = {
      function(ada) ada:close(1000) end,
      function(ada) ada:abort() end,
      function(ada) ada:drop() end,
      function(ada) ada:send_frame({ opcode = 3 }) ada:wait_closed() end,
    }
    for _, finish in ipairs(endings) do
      local ada = wait_for_place(app, "/")
      assert.equal("mine", (ada:ask("mine")))
      assert_refused(app, "/")
      finish(ada)
    end
    wait_for_place(app, "/"):close(1000)
  end)

  it("is free for the next client as soon as one has left", function()
    -- of several workers another one might accept the next client first
    local app <close> = server.start({ workers = 1,
      app = ("return { max_connections = 1, ECHO }"):gsub("ECHO", ECHO) })
    for round = 1, 50 do
      local ada <const> = app:connect()
      assert.equal("mine", (ada:ask("mine")))
      if round % 2 == 0 then ada:abort() else ada:drop() end
    end
  end)

  it("gives no place to a request that is refused", function()
    local app <close> = server.start({ app = ([[
      return {
        max_connections = 1, ECHO,
        validate = function(request) return request.query.token == "good", 401 end,
      }
    ]]):gsub("ECHO", ECHO) })
    for _ = 1, 5 do assert.equal(401, select(2, client.connect(app:url("/")))) end
    assert.equal("in", (app:connect("/?token=good"):ask("in")))
  end)

  it("of one address is limited by limits.per_address, with 429", function()
    local app <close> = server.start({
      app = ("return { limits = { per_address = 2 }, endpoints = { ['/'] = { ECHO } } }")
        :gsub("ECHO", ECHO),
    })
    local ada = app:connect("/")
    app:connect("/")
    local none, status, headers, body = client.connect(app:url("/"))
    assert.same({ nil, 429 }, { none, status })
    assert.is_number(tonumber(headers["retry-after"]))
    assert.is_true(#body > 0)
    ada:close(1000)
    wait_for_place(app, "/")
  end)
end)

describe("ten clients at once", function()
  it("get all fifty answers to their five messages each", function()
    local app <close> = server.start({ app = ("return { ECHO }"):gsub("ECHO", ECHO) })
    local clients = {}
    for index = 1, 10 do clients[index] = app:connect("/") end
    for message = 1, 5 do
      for index, each in ipairs(clients) do
        each:send_text(("%d from %d"):format(message, index))
      end
    end
    local received = 0
    for index, each in ipairs(clients) do
      for message, text in ipairs(each:receive_many(5)) do
        assert.equal(("%d from %d"):format(message, index), text)
        received = received + 1
      end
    end
    assert.equal(50, received)
  end)
end)

describe("a handshake", function()
  after_each(stream.close_all)

  local function start(limits)
    return server.start({
      app = ("return { limits = { LIMITS }, endpoints = { ['/'] = { ECHO } } }")
        :gsub("%u+", { LIMITS = limits, ECHO = ECHO }),
    })
  end

  it("that exceeds limits.handshake_seconds is closed; no other is delayed, or ended", function()
    local app <close> = start("handshake_seconds = 3")
    local early = app:connect("/")
    local start_time = loop.now()
    local silent, half, dripping = {}, {}, {}
    for index = 1, 20 do
      silent[index] = assert(stream.connect(app.addresses[1]))
      half[index] = assert(stream.connect(app.addresses[1]))
      half[index]:write("GET / HTTP/1.1\r\nHost: x\r\n")
      dripping[index] = assert(stream.connect(app.addresses[1]))
    end
    assert.equal("quick", (app:connect("/"):ask("quick")))
    local function all_ended()
      for index = 1, 20 do
        if not (silent[index].ended and half[index].ended and dripping[index].ended) then
          return false
        end
      end
      return true
    end
    local request, sent = client.handshake("/"), 0
    local done = loop.wait_until(function()
      if sent < #request - 10 and loop.now() - start_time > sent * 0.1 then
        sent = sent + 1
        for _, each in ipairs(dripping) do each:write(request:sub(sent, sent)) end
      end
      return all_ended()
    end)
    assert.is_true(done)
    assert.is_true(loop.now() - start_time >= 2.95, "ended early")
    assert.equal("alive", (early:ask("alive")))
    assert.equal("quick", (app:connect("/"):ask("quick")))
  end)

  it("larger than limits.header_bytes is refused with 431 or 414", function()
    local app <close> = start("header_bytes = 2048")
    local _, status = client.connect(app:url("/"), { headers = { Cookie = ("c"):rep(3000) } })
    assert.equal(431, status)
    _, status = client.connect(app:url("/" .. ("p"):rep(3000)))
    assert.is_true(status == 414 or status == 431, "answered with " .. tostring(status))
    local ada = app:connect("/?q=" .. ("q"):rep(500), { headers = { Cookie = ("c"):rep(1000) } })
    assert.equal("fits", (ada:ask("fits")))
  end)

  it("may have headers of 16 KiB, and no endless ones, by default", function()
    local app <close> = start("")
    assert.equal("fits",
      (app:connect("/", { headers = { Cookie = ("c"):rep(15000) } }):ask("fits")))
    local _, status = client.connect(app:url("/"), { headers = { Cookie = ("c"):rep(20000) } })
    assert.equal(431, status)
    local many = {}
    for index = 1, 500 do many["X-Header-" .. index] = "x" end
    assert.equal(431, (select(2, client.connect(app:url("/"), { headers = many }))))
    local endless = assert(stream.connect(app.addresses[1]))
    endless:write("GET / HTTP/1.1\r\n")
    for _ = 1, 2000 do endless:write(("X-Header: %s\r\n"):format(("x"):rep(80))) end
    assert.is_truthy(endless:wait_end())
    assert.equal("alive", (app:connect("/"):ask("alive")))
  end)
end)
