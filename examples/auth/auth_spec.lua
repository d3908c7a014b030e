-- auth_spec.lua -- the auth example: logging in, connecting with a token, and permissions.

local cjson = require "cjson"
local client = require "support.client"
local server = require "support.server"
local stream = require "support.stream"

local PATH = require("luv").cwd() .. "/examples/auth/app.lua"
local DENIED = { type = "error", error = "Insufficient permissions", code = "PERMISSION_DENIED" }

describe("examples/auth", function()
  local app

  lazy_setup(function()
    app = server.start({
      app_path = PATH, environment = { AUTH_KEY = "the key of this test, long enough" },
    })
  end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  local function login(name, password)
    return app:http({
      method = "POST", path = "/login", body = cjson.encode({ name = name, password = password }),
    })
  end

  local function token(name, password)
    return cjson.decode(login(name, password).body).token
  end

  local function ask(peer, message)
    return cjson.decode((peer:ask(cjson.encode(message))))
  end

  local function assert_refused(why, path, options)
    local peer, status, headers, body = client.connect(app:url(path), options)
    assert.is_nil(peer)
    assert.equal(401, status)
    assert.is_truthy(headers["www-authenticate"])
    assert.equal(why, cjson.decode(body).error)
  end

  it("gives a token for the right password", function()
    assert.equal(3, select(2, token("ada", "lovelace"):gsub("[^.]+", "")))
    for _, body in ipairs({
      '{"name":"ada","password":"wrong"}', '{"name":"eve"}', "[]", "nonsense", "",
    }) do
      assert.equal(401, app:http({ method = "POST", path = "/login", body = body }).status, body)
    end
  end)

  it("accepts a valid token, by header or by query", function()
    local ada =
      app:connect("/chat", { headers = { Authorization = "Bearer " .. token("ada", "lovelace") } })
    assert.same({ type = "chat", from = "ada", role = "admin", text = "hi" },
      ask(ada, { type = "chat", text = "hi" }))
    local bob = app:connect("/chat?token=" .. token("bob", "baker"))
    assert.equal("bob", ask(bob, { type = "chat" }).from)
  end)

  it("refuses a missing, a broken and a changed token with 401 and the reason", function()
    assert_refused("no token", "/chat")
    assert_refused("malformed token: it is not three parts with dots between", "/chat?token=x")
    local head, body, signature = token("bob", "baker"):match("^(.*)%.(.*)%.(.*)$")
    local other_body = token("ada", "lovelace"):match("%.(.*)%.")
    assert.not_equal(body, other_body)
    assert_refused("the token's signature does not match", "/chat", {
      headers = { Authorization = ("Bearer %s.%s.%s"):format(head, other_body, signature) },
    })
  end)

  it("answers a message that the role may not send, and the connection stays", function()
    local bob = app:connect("/chat?token=" .. token("bob", "baker"))
    assert.same(DENIED, ask(bob, { type = "announce", text = "listen" }))
    assert.same(DENIED, ask(bob, { kind = "no type at all" }))
    assert.same(DENIED, ask(bob, 7))
    assert.equal("chat", ask(bob, { type = "chat", text = "still here" }).type)
    local ada = app:connect("/chat?token=" .. token("ada", "lovelace"))
    assert.equal("announce", ask(ada, { type = "announce", text = "listen" }).type)
  end)

  it("does not start without a key, and says what to do", function()
    local result = server.run({ "check", PATH })
    assert.equal(2, result.code)
    assert.is_truthy(result.stderr:find("app.lua:%d+: set AUTH_KEY"), result.stderr)
  end)
end)
