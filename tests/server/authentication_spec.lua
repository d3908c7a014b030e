-- authentication_spec.lua -- authentication and permissions: tokens, roles and JWTs, checked in
-- `validate` during the handshake, and in handle_message.

local cjson = require "cjson"
local client = require "support.client"
local digest = require "support.digest"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

-- (client.ask returns the kind as well, which cjson.decode takes for an argument too many)
local function decode(text) return cjson.decode(text) end

local APP = [[
local record = require "record"

local users = {
  ["token-ada"] = { username = "ada", role = "admin" },
  ["token-bob"] = { username = "bob", role = "user" },
}

local function token_of(request)
  local header = request.headers.authorization or ""
  return header:match("^[Bb]earer (.+)$") or request.query.token
end

local allowed = { admin = { announce = true, chat = true }, user = { chat = true } }

return {
  endpoints = {
    ["/chat"] = {
      codec = "json",
      validate = function(request)
        local token = token_of(request)
        if not token then return nil, 401, "a token is needed" end
        local user = users[token]
        if not user then
          return nil, {
            status = 401,
            headers = {
              ["WWW-Authenticate"] = 'Bearer error="invalid_token"',
              ["Content-Type"] = "application/json",
            },
            body = '{"error":"invalid token"}',
          }
        end
        return { username = user.username, role = user.role }
      end,
      on_start = function(conn) record("start", conn.username) end,
      handle_message = function(conn, message)
        if not allowed[conn.role][message.type] then
          conn:send({
            type = "error", error = "Insufficient permissions", code = "PERMISSION_DENIED",
          })
          return
        end
        conn:send({ type = message.type, from = conn.username, role = conn.role })
      end,
    },
    ["/true"]    = {
      validate = function() return true end, handle_message = function(c, m) c:send(m) end,
    },
    ["/nil"]     = {
      validate = function() return nil end, on_start = function() record("start") end,
    },
    ["/false"]   = { validate = function() return false, 402 end },
    ["/teapot"]  = { validate = function() return nil, 418, "short and stout" end },
    ["/nested"]  = {
      validate = function()
        return nil, 409, { status = 410, headers = { ["X-Why"] = "gone" }, body = "gone" }
      end,
    },
    ["/error"]   = {
      validate = function() error("the database is away") end,
      on_start = function() record("start") end,
    },
    ["/nothing"] = {
      validate = function() return 42 end, on_start = function() record("start") end,
    },
    ["/sleep"]   = { validate = function() require("tidewire").sleep(0.01); return true end },
  },
}
]]

describe("validate", function()
  local app

  lazy_setup(function() app = server.start({ app = APP }) end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  it("accepts a valid token, in the header or in the query", function()
    local ada = app:connect("/chat", { headers = { Authorization = "Bearer token-ada" } })
    assert.same({ type = "chat", from = "ada", role = "admin" }, decode(ada:ask('{"type":"chat"}')))
    local bob = app:connect("/chat?room=1&token=token-bob")
    assert.same({ type = "chat", from = "bob", role = "user" }, decode(bob:ask('{"type":"chat"}')))
  end)

  it("refuses a missing and a bad token with 401 and a body, before the upgrade", function()
    local started = #app:events("start")
    local none, status, headers, body = client.connect(app:url("/chat"))
    assert.same({ nil, 401 }, { none, status })
    assert.is_truthy(body:find("a token is needed", 1, true))
    assert.equal(#body, tonumber(headers["content-length"]))
    none, status, headers, body = client.connect(app:url("/chat?token=wrong"))
    assert.same({ nil, 401 }, { none, status })
    assert.equal('Bearer error="invalid_token"', headers["www-authenticate"])
    assert.equal("application/json", headers["content-type"])
    assert.equal('{"error":"invalid token"}', body)
    assert.equal(started, #app:events("start"))
  end)

  it("leaves permissions to handle_message, and the connection stays", function()
    local denied = {
      type = "error", error = "Insufficient permissions", code = "PERMISSION_DENIED",
    }
    local bob = app:connect("/chat?token=token-bob")
    assert.same(denied, decode(bob:ask('{"type":"announce"}')))
    assert.equal("chat", decode(bob:ask('{"type":"chat"}')).type)
    local ada = app:connect("/chat?token=token-ada")
    assert.equal("announce", decode(ada:ask('{"type":"announce"}')).type)
  end)

  it("may answer true", function()
    assert.equal("in", (app:connect("/true"):ask("in")))
  end)

  it("refuses with 403 unless it says another status, and always with a body", function()
    for path, expected in pairs({ ["/nil"] = 403, ["/false"] = 402, ["/teapot"] = 418 }) do
      local none, status, _, body = client.connect(app:url(path))
      assert.is_nil(none)
      assert.equal(expected, status)
      assert.is_true(#body > 0, path)
    end
    assert.is_truthy(select(4, client.connect(app:url("/teapot"))):find("short and stout", 1, true))
  end)

  it("may give status, headers and body of its own beside a status", function()
    local _, status, headers, body = client.connect(app:url("/nested"))
    assert.equal(410, status)
    assert.equal("gone", headers["x-why"])
    assert.equal("gone", body)
  end)

  it("that throws, sleeps or answers nonsense is a 500 with a body, and never a 101", function()
    for _, path in ipairs({ "/error", "/sleep", "/nothing" }) do
      local none, status, _, body = client.connect(app:url(path))
      assert.is_nil(none, path)
      assert.equal(500, status, path)
      assert.is_true(#body > 0, path)
      assert.is_nil(body:find("database", 1, true),
        "the error's text is for the log, not for strangers")
    end
    assert.is_truthy(app:wait_for_log("app%.lua:%d+: the database is away"))
    assert.equal("in", (app:connect("/true"):ask("in")))
  end)
end)

-- A program of openssl's, fed with `input`.
local function openssl(folder, args, input)
  process.write_file(folder .. "/input", input or "")
  local file = assert(io.popen(("cd '%s' && openssl %s < input 2>/dev/null"):format(folder, args)))
  local out = file:read("a")
  assert(file:close(), "openssl " .. args)
  return out
end

local function base64url(bytes)
  return (digest.base64(bytes):gsub("+", "-"):gsub("/", "_"):gsub("=", ""))
end

-- ECDSA signatures of openssl are DER; a JWT has the two numbers side by side (RFC 7518, 3.4).
local function ecdsa_from_der(der)
  local r_length = der:byte(4)
  local r = der:sub(5, 4 + r_length)
  local s = der:sub(7 + r_length)
  local function fixed(number)
    number = number:gsub("^\0+", "")
    return ("\0"):rep(32 - #number) .. number
  end
  return fixed(r) .. fixed(s)
end

describe("JWTs", function()
  local app, folder

  -- Tokens are signed by openssl, so that two implementations have to agree.
  local signers = {
    HS256 = function(text)
      return openssl(folder,
        "dgst -sha256 -hmac the-secret-of-this-test-is-long-enough -binary", text)
    end,
    RS256 = function(text) return openssl(folder, "dgst -sha256 -sign rsa.pem -binary", text) end,
    ES256 = function(text)
      return ecdsa_from_der(openssl(folder, "dgst -sha256 -sign ec.pem -binary", text))
    end,
    none = function() return "" end,
    -- Algorithm confusion: the public key, which any client can know, used as an HMAC secret.
    confused = function(text)
      local hex = process.read_file(folder .. "/rsa.pub"):gsub(".", function(c)
        return ("%02x"):format(c:byte())
      end)
      return openssl(folder, "dgst -sha256 -mac HMAC -macopt hexkey:" .. hex .. " -binary", text)
    end,
  }

  local function token(algorithm, claims)
    local name = algorithm == "confused" and "HS256" or algorithm
    local head =
      base64url(('{"alg":"%s","typ":"JWT"}'):format(name)) .. "." .. base64url(cjson.encode(claims))
    return head .. "." .. base64url(signers[algorithm](head))
  end

  lazy_setup(function()
    folder = process.make_directory()
    openssl(folder, "genrsa -out rsa.pem 2048")
    openssl(folder, "rsa -in rsa.pem -pubout -out rsa.pub")
    openssl(folder, "ecparam -name prime256v1 -genkey -noout -out ec.pem")
    openssl(folder, "ec -in ec.pem -pubout -out ec.pub")
    app = server.start({
      files = {
        ["rsa.pub"] = process.read_file(folder .. "/rsa.pub"),
        ["ec.pub"] = process.read_file(folder .. "/ec.pub"),
      },
      app = [[
        local tw = require "tidewire"
        local function read(path)
          local file = assert(io.open(path))
          local text = file:read("a")
          file:close()
          return text
        end
        local function guarded(options)
          return {
            validate = function(request)
              local claims, message = tw.jwt.verify(request.query.token or "", options)
              if not claims then return nil, 401, message end
              return { user = claims.sub, role = claims.role }
            end,
            handle_message = function(conn) conn:send(conn.user .. " " .. tostring(conn.role)) end,
          }
        end
        local secret = "the-secret-of-this-test-is-long-enough"
        return {
          endpoints = {
            ["/HS256"]  = guarded({ key = secret, algorithms = { "HS256" } }),
            ["/RS256"]  = guarded({ key = read("rsa.pub"), algorithms = { "RS256" } }),
            ["/ES256"]  = guarded({ key = read("ec.pub"), algorithms = { "ES256" } }),
            ["/issued"] = guarded({
              key = secret, algorithms = { "HS256" }, issuer = "home", audience = "chat",
            }),
          },
          http = {
            ["/token"] = function(request)
              local claims = { sub = "ada", role = "admin", exp = os.time() + 60 }
              return tw.jwt.sign(claims, { key = secret, algorithm = "HS256" })
            end,
          },
        }
      ]],
    })
  end)
  lazy_teardown(function()
    app:stop()
    process.remove_directory(folder)
  end)
  after_each(stream.close_all)

  local function refused(path, text)
    local none, status, _, body = client.connect(app:url(path .. "?token=" .. text))
    assert.is_nil(none, path .. " let in " .. text)
    assert.equal(401, status)
    assert.is_true(#body > 0)
  end

  it("of HS256, RS256 and ES256 are accepted, each with its own key", function()
    for _, algorithm in ipairs({ "HS256", "RS256", "ES256" }) do
      local text = token(algorithm, { sub = "ada", role = "admin", exp = os.time() + 60 })
      assert.equal("ada admin",
        (app:connect("/" .. algorithm .. "?token=" .. text):ask("who am I")), algorithm)
      local changed = text:gsub("%.[^.]+%.",
        "." .. base64url('{"sub":"eve","role":"admin","exp":9999999999}') .. ".")
      refused("/" .. algorithm, changed)
    end
  end)

  it("without a signature, or signed with the public key as a secret, are refused", function()
    local claims = { sub = "eve", role = "admin", exp = os.time() + 60 }
    for _, path in ipairs({ "/HS256", "/RS256", "/ES256" }) do
      refused(path, token("none", claims))
    end
    refused("/RS256", token("confused", claims))
    refused("/RS256", token("HS256", claims))
    refused("/HS256", token("RS256", claims))
  end)

  it("that are over, not yet good, or no JWT at all are refused", function()
    refused("/HS256", token("HS256", { sub = "ada", exp = os.time() - 3600 }))
    refused("/HS256",
      token("HS256", { sub = "ada", exp = os.time() + 7200, nbf = os.time() + 3600 }))
    for _, text in ipairs({ "", "x", "a.b", "a.b.c", "..", ("A"):rep(2000) }) do
      refused("/HS256", text)
    end
  end)

  it("are checked for issuer and audience where these are named", function()
    local good = { sub = "ada", exp = os.time() + 60, iss = "home", aud = "chat" }
    assert.equal("ada nil", (app:connect("/issued?token=" .. token("HS256", good)):ask("who am I")))
    refused("/issued",
      token("HS256", { sub = "ada", exp = os.time() + 60, iss = "elsewhere", aud = "chat" }))
    refused("/issued",
      token("HS256", { sub = "ada", exp = os.time() + 60, iss = "home", aud = "shop" }))
    refused("/issued", token("HS256", { sub = "ada", exp = os.time() + 60 }))
  end)

  it("can be made by the app itself", function()
    local text = app:http("/token").body
    assert.equal("ada admin", (app:connect("/HS256?token=" .. text):ask("who am I")))
  end)
end)
