-- accept_spec.lua -- which handshakes become connections, and the responses to the others.

local fake_app = require "support.fake_app"
local json = require "tidewire.json"

local world

before_each(function() world = fake_app:install() end)
after_each(function() world:uninstall() end)

--- Serves one handler on "/" and tries a handshake.
local function try(handler, request)
  world:serve { endpoints = { ["/"] = handler } }
  return world:handshake("/", request)
end

local function try_validate(validate, request)
  return try({ validate = validate }, request)
end

--- The message of a refusal, which must be JSON with the status of the answer.
local function message_of(answer)
  assert.matches("Content%-Type: application/json\r\n", answer.headers)
  local body = assert(json.decode(answer.body))
  assert.equal(answer.status, body.status)
  return body.error
end

--- A validate that answers with exactly these values.
local function answering(...)
  local values = table.pack(...)
  return function() return table.unpack(values, 1, values.n) end
end

describe("a handshake", function()
  it("without any rule is accepted", function()
    local answer = try {}
    assert.same({ status = 101, endpoint = 0 }, answer)
  end)

  it("reaches the endpoint of its path", function()
    world:serve { endpoints = { ["/a"] = {}, ["/b"] = {} } }
    assert.equal(0, (world:handshake("/a")).endpoint)
    assert.equal(1, (world:handshake("/b?x=1")).endpoint)
  end)

  it("to a path without an endpoint is refused with 404 and the reason", function()
    world:serve { endpoints = { ["/a"] = {} } }
    local answer = world:handshake("/b")
    assert.equal(404, answer.status)
    assert.equal("There is no WebSocket endpoint at this path.", message_of(answer))
  end)

  it("to a path that has only a page is a 404", function()
    world:serve { http = { ["GET /page"] = function() return "hello" end } }
    assert.equal(404, (world:handshake("/page")).status)
  end)

  it("to a full endpoint is a 503 with Retry-After", function()
    world.full[0] = true
    local answer = try {}
    assert.equal(503, answer.status)
    assert.matches("Retry%-After: 5\r\n", answer.headers)
    assert.equal("This endpoint is full.", message_of(answer))
  end)

  it("is not kept out by another endpoint that is full", function()
    world:serve { endpoints = { ["/a"] = {}, ["/b"] = {} } }
    world.full[0] = true
    assert.equal(101, (world:handshake("/b")).status)
  end)

  it("that is refused leaves nothing behind", function()
    try_validate(answering(nil))
    assert.is_nil(world:object(world.last_id))
  end)
end)

describe("the Origin of a handshake", function()
  local function origin(text)
    return { headers = { Origin = text } }
  end

  it("that the list does not name is a 403 that says why", function()
    local answer = try({ origins = { "https://example.com" } }, origin "https://evil.example")
    assert.equal(403, answer.status)
    assert.equal("this Origin is not allowed", message_of(answer))
  end)

  it("of the list is accepted, and so is a request without one", function()
    assert.equal(101,
      (try({ origins = { "https://example.com" } }, origin "https://example.com")).status)
    assert.equal(101, (world:handshake("/")).status)
  end)

  it("may be required", function()
    local answer = try { require_origin = true }
    assert.equal(403, answer.status)
    assert.equal("an Origin header is required", message_of(answer))
  end)

  it("may be judged by a function, which sees the request with its parameters", function()
    local seen
    world:serve {
      endpoints = {
        ["/:room"] = {
          origins = function(name, request)
            seen = { name, request.params.room }
            return request.params.room == "open"
          end,
        },
      },
    }
    assert.equal(101, (world:handshake("/open", origin "https://a.example")).status)
    assert.same({ "https://a.example", "open" }, seen)
    assert.equal(403, (world:handshake("/shut", origin "https://a.example")).status)
  end)

  it("is a 500 when that function throws, and the log has the reason", function()
    local answer = try({ origins = function() error("out of tea") end }, origin "https://a.example")
    assert.equal(500, answer.status)
    assert.equal("The server could not decide.", message_of(answer))
    local line = world:logged("script_error")[1]
    assert.equal("origins", line.fields.hook)
    assert.matches("accept_spec%.lua:%d+: out of tea", line.fields.why)
    assert.equal(1, world.stats.script_errors)
  end)
end)

describe("the subprotocol of a handshake", function()
  local function offering(text)
    return { headers = { ["Sec-WebSocket-Protocol"] = text } }
  end

  it("is the first of the endpoint's that the client offers", function()
    assert.equal("v2",
      (try({ subprotocols = { "v3", "v2", "v1" } }, offering "v1, v2")).subprotocol)
  end)

  it("is none where the client offers none", function()
    local answer = try { subprotocols = { "v1" } }
    assert.equal(101, answer.status)
    assert.is_nil(answer.subprotocol)
  end)

  it("is none where the endpoint names none", function()
    local answer = try({}, offering "v1")
    assert.equal(101, answer.status)
    assert.is_nil(answer.subprotocol)
  end)

  it("that is offered in vain is a 400 that names those there are", function()
    local answer = try({ subprotocols = { "v2", "v1" } }, offering "v3, V1")
    assert.equal(400, answer.status)
    assert.equal("This endpoint speaks only these subprotocols: v2, v1.", message_of(answer))
  end)
end)

describe("the rules are asked in this order:", function()
  it("Origin, places, subprotocol, and last validate", function()
    local asked = 0
    world:serve {
      origins = { "https://example.com" },
      subprotocols = { "v1" },
      validate = function()
        asked = asked + 1
        return nil, 418
      end,
    }
    local request =
      { headers = { Origin = "https://evil.example", ["Sec-WebSocket-Protocol"] = "unknown" } }
    world.full[0] = true
    assert.equal(403, (world:handshake("/", request)).status)
    request.headers.Origin = nil
    assert.equal(503, (world:handshake("/", request)).status)
    world.full[0] = nil
    assert.equal(400, (world:handshake("/", request)).status)
    request.headers["Sec-WebSocket-Protocol"] = "v1"
    assert.equal(0, asked)
    assert.equal(418, (world:handshake("/", request)).status)
  end)
end)

describe("validate", function()
  it("is given the request and nothing else", function()
    local got
    world:serve {
      endpoints = {
        ["/game/:room"] = {
          validate = function(...)
            got = table.pack(...)
            return true
          end,
        },
      },
    }
    world:handshake("/game/7?as=ada",
      { headers = { ["X-Token"] = "t" }, remote_address = "192.0.2.9", secure = true })
    assert.equal(1, got.n)
    local request = got[1]
    assert.same({ "GET", "/game/7", "7", "ada", "t", "192.0.2.9", true }, {
      request.method, request.path, request.params.room, request.query.as,
      request.headers["x-token"], request.remote_address, request.secure,
    })
  end)

  it("accepts with true", function()
    assert.equal(101, (try_validate(answering(true))).status)
  end)

  it("accepts with a table, whose fields become the connection's", function()
    world:serve { validate = answering { username = "ada" } }
    assert.equal("ada", world:connect().username)
  end)

  it("may read the request, and values that it sets there stay", function()
    local seen
    world:serve {
      validate = function(request)
        seen = request
        request.note = request.headers.host .. request.query.as
        return true
      end,
    }
    local conn = world:connect("/?as=ada")
    assert.is_nil(rawget(seen, "headers"))
    assert.equal("localhostada", conn.request.note)
    assert.equal("localhost", conn.request.headers.host)
  end)
end)

describe("a refusal of validate", function()
  it("with nil or false is a 403 that says only that", function()
    for _, values in ipairs { table.pack(nil), table.pack(false) } do
      local answer = try_validate(answering(table.unpack(values, 1, values.n)))
      assert.equal(403, answer.status)
      assert.equal("Refused.", message_of(answer))
    end
  end)

  it("may have a status", function()
    local answer = try_validate(answering(nil, 429))
    assert.equal(429, answer.status)
    assert.equal("Refused.", message_of(answer))
  end)

  it("may have a status and a message", function()
    local answer = try_validate(answering(false, 409, "the room is full"))
    assert.equal(409, answer.status)
    assert.equal("the room is full", message_of(answer))
  end)

  it("may have a message alone, and is a 403", function()
    local answer = try_validate(answering(nil, "not you"))
    assert.equal(403, answer.status)
    assert.equal("not you", message_of(answer))
  end)

  it("may have a message behind a nil, and is a 403", function()
    local answer = try_validate(answering(nil, nil, "not you"))
    assert.equal(403, answer.status)
    assert.equal("not you", message_of(answer))
  end)

  it("may have a status and headers, and a body as JSON", function()
    local answer = try_validate(answering(nil, 409,
      { headers = { ["X-Why"] = "full" }, body = { room = "full" } }))
    assert.equal(409, answer.status)
    assert.equal('{"room":"full"}', answer.body)
    assert.matches("X%-Why: full\r\n", answer.headers)
    assert.matches("Content%-Type: application/json\r\n", answer.headers)
  end)

  it("may have a body that is a text", function()
    local answer = try_validate(answering(nil, 409, { body = "full" }))
    assert.equal("full", answer.body)
    assert.equal("", answer.headers)
  end)

  it("may have all of it in a table", function()
    local answer =
      try_validate(answering(nil, { status = 302, headers = { Location = "/login" }, body = "" }))
    assert.equal(302, answer.status)
    assert.equal("Location: /login\r\n", answer.headers)
    assert.equal("", answer.body)
  end)

  it("may have status and message in a table", function()
    local answer = try_validate(answering(nil,
      { status = 429, message = "slowly", headers = { ["Retry-After"] = 5 } }))
    assert.equal(429, answer.status)
    assert.equal("slowly", message_of(answer))
    assert.matches("Retry%-After: 5\r\n", answer.headers)
  end)

  it("with the status 401 has WWW-Authenticate", function()
    local answer = try_validate(answering(nil, 401, "who are you"))
    assert.matches("WWW%-Authenticate: Bearer\r\n", answer.headers)
  end)

  it("is no error", function()
    try_validate(answering(nil, 401))
    assert.equal(0, world.stats.script_errors)
    assert.same({}, world.logs)
  end)
end)

describe("a status from 4000 to 4999", function()
  it("accepts the handshake and closes with it", function()
    local long = ("ä"):rep(100)
    for _, case in ipairs {
      { { nil, 4000 }, 4000, "" },
      { { false, 4401 }, 4401, "" },
      { { nil, 4999, "who are you?" }, 4999, "who are you?" },
      { { nil, 4001, 17 }, 4001, "17" },
      { { nil, { status = 4403, message = "go away" } }, 4403, "go away" },
      { { nil, 4403, { message = "go away", headers = { ["X-Why"] = "none" } } }, 4403, "go away" },
      { { nil, 4403, { body = "go away" } }, 4403, "go away" },
      { { nil, 401, { status = 4402 } }, 4402, "" },
      { { nil, 4001, long }, 4001, ("ä"):rep(61) }, -- 123 bytes, in whole characters
      { { nil, 4001, ("x"):rep(123) }, 4001, ("x"):rep(123) },
      { { nil, 4001, ("x"):rep(121) .. "€" }, 4001, ("x"):rep(121) },
    } do
      world:uninstall()
      world = fake_app:install()
      local answer = try_validate(answering(table.unpack(case[1], 1, 3)))
      assert.same({ status = case[2], headers = "", body = case[3], endpoint = 0 }, answer)
      assert.same({}, world.logs)
      assert.equal(0, world.stats.script_errors)
      assert.is_nil(world:object(world.last_id))
    end
  end)

  it("names a subprotocol that the client has offered, so that a browser sees the code", function()
    local function chosen(subprotocols, offered)
      return try({ subprotocols = subprotocols, validate = answering(nil, 4000) },
        { headers = { ["Sec-WebSocket-Protocol"] = offered } }).subprotocol
    end
    assert.equal("b", chosen({ "b", "a" }, "a, b"))
    assert.equal("a", chosen(nil, "a, b"))
    assert.is_nil(chosen({ "a" }, nil))
  end)

  it("needs a reason that can be sent", function()
    for _, details in ipairs { { body = {} }, print, { message = "\xff" }, "\xff" } do
      world:uninstall()
      world = fake_app:install()
      assert.equal(500, try_validate(answering(nil, 4000, details)).status)
      assert.matches("reason", world:logged("script_error")[1].fields.why)
    end
  end)

  it("may be what a function of `origins` returns, as any other status", function()
    local function answer_of(...)
      world:uninstall()
      world = fake_app:install()
      return try({ origins = answering(...) }, { headers = { Origin = "https://a.example" } })
    end
    assert.same({ status = 4403, headers = "", body = "not here", endpoint = 0 },
      answer_of(false, 4403, "not here"))
    local answer = answer_of(nil, 404, "not here")
    assert.same({ 404, "not here" }, { answer.status, message_of(answer) })
    -- what a function may have returned without a meaning
    for _, other in ipairs { 1, "4403", 200, 5000, print } do
      answer = answer_of(nil, other)
      assert.same({ 403, "this Origin is not allowed" }, { answer.status, message_of(answer) })
    end
    assert.equal(500, answer_of(nil, 4403, print).status)
    assert.equal("origins", world:logged("script_error")[1].fields.hook)
  end)
end)

describe("a client that offers subprotocols to an endpoint without any", function()
  local OFFER = { headers = { ["Sec-WebSocket-Protocol"] = "chat.v1" } }

  it("is accepted, and the log warns once of each endpoint", function()
    world:serve { endpoints = {
      ["/a"] = {}, ["/b"] = {}, ["/c"] = { subprotocols = { "chat.v1" } }, ["/d"] = {},
    } }
    for _, path in ipairs { "/a", "/a", "/b", "/a", "/c" } do
      assert.equal(101, world:handshake(path, OFFER).status)
    end
    assert.equal(101, world:handshake("/d").status)
    local lines = world:logged "subprotocols"
    assert.equal(2, #lines)
    assert.equal("warn", lines[1].level)
    assert.matches('the handler of "/a" has none.*write subprotocols = { "NAME" }',
      lines[1].fields.why)
    assert.matches('"/b"', lines[2].fields.why)
  end)

  it("is not warned of when validate refuses it", function()
    world:serve { endpoints = { ["/"] = { validate = function() return nil end } } }
    assert.equal(403, world:handshake("/", OFFER).status)
    assert.equal(0, #world:logged "subprotocols")
  end)

  it("is warned of by one worker of all", function()
    world:serve { endpoints = { ["/"] = {} } }
    world.core.is_first("subprotocols", 0) -- another has asked
    world:handshake("/", OFFER)
    assert.equal(0, #world:logged "subprotocols")
  end)
end)

describe("a mistake of validate is answered with a bare 500, logged and counted:", function()
  local function assert_logged(answer, pattern)
    assert.equal(500, answer.status)
    assert.equal("The server could not decide.", message_of(answer))
    local line = world:logged("script_error")[1]
    assert.equal("validate", line.fields.hook)
    assert.matches(pattern, line.fields.why)
    assert.equal(1, world.stats.script_errors)
    assert.is_nil(world:object(world.last_id))
  end

  it("an error", function()
    assert_logged(try_validate(function() error("out of tea") end),
      "accept_spec%.lua:%d+: out of tea")
    assert.matches("^stack traceback:", world:logged("script_error")[1].fields.traceback)
  end)

  it("an error of nil, or of a value that cannot be shown", function()
    assert_logged(try_validate(function() error() end), "^nil$")
    world:uninstall()
    world = fake_app:install()
    assert_logged(try_validate(function() error(setmetatable({}, { __tostring = error })) end),
      "cannot be shown")
  end)

  it("waiting", function()
    assert_logged(try_validate(function() require("tidewire").sleep(1) end),
      "tw.sleep: validate must answer at once; do the slow part in on_start")
  end)

  it("no answer", function()
    assert_logged(try_validate(function() end),
      "accept_spec%.lua:%d+: validate returned nothing; return true or a table to accept, ")
  end)

  it("an answer that is neither a table nor true nor false", function()
    assert_logged(try_validate(answering(1)),
      "accept_spec%.lua:%d+: validate must return a table, true, or nil/false .* it "
        .. "returned number$")
  end)

  it("a status that comes first", function()
    for _, case in ipairs { { 401, "no", says = "; to refuse, return nil, 401, message$" },
      { 4401, says = "it returned number; to refuse, return nil, 4401$" },
      { 200, says = "it returned number$" } } do
      world:uninstall()
      world = fake_app:install()
      assert_logged(try_validate(function() return table.unpack(case) end), case.says)
    end
  end)

  it("a field that would hide what a connection has itself", function()
    for _, name in ipairs {
      "send", "close", "is_open", "ping", "join", "leave", "rooms", "after", "every", "id", "name",
      "request", "started_at", "subprotocol", "path", "params", "query", "remote_address", "secure",
      "rtt", "backlog",
    } do
      world:uninstall()
      world = fake_app:install()
      assert_logged(try_validate(answering { [name] = "mine" }),
        ('accept_spec%%.lua:%%d+: validate returned "%s", '
          .. 'which every connection has itself; choose another name, such as "%%l+_%s"$')
          :format(name, name))
    end
  end)

  it("several such fields, all of which are named", function()
    assert_logged(try_validate(answering { id = 1, name = "ada", close = true }),
      'validate returned "close" and "id" and "name", which every connection has itself; choose '
        .. 'another name, such as "my_close" and "user_id" and "user_name"')
  end)

  it("a header that would break the answer", function()
    assert_logged(try_validate(answering(nil, 401,
      { headers = { ["X-Why"] = "a\r\nSet-Cookie: b" } })), "header X%-Why")
  end)

  it("headers that are no table", function()
    assert_logged(try_validate(answering(nil, 401, { headers = "X-Why: full" })), "table expected")
  end)

  it("a body that JSON has no form for", function()
    assert_logged(try_validate(answering(nil, 401, { body = { print } })), "function")
  end)

  it("a message that is not UTF-8", function()
    assert_logged(try_validate(answering(nil, 401, "\xff")), "UTF%-8")
  end)

  it("a status that refuses nothing", function()
    for _, status in ipairs { 0, 101, 200, 299, 600, 1000, 1008, 3999, 5000, 4001.5, 401.5 } do
      for _, values in ipairs { { nil, status, "why" }, { nil, { status = status } } } do
        world:uninstall()
        world = fake_app:install()
        assert_logged(try_validate(answering(nil, values[2], values[3])), tostring(status))
      end
    end
  end)
end)
