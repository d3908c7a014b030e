-- app.lua -- auth: tokens decide which users may connect, and roles which messages they may send.
--
-- Run:   AUTH_KEY=$(openssl rand -hex 32) scripts/run examples/auth/app.lua
-- Type:  curl -d '{"name":"ada","password":"lovelace"}' http://127.0.0.1:8080/login
--        which answers {"token":"…"}; then, with that token,
--        scripts/run talk "ws://127.0.0.1:8080/chat?token=…"
--        {"type":"chat","text":"hello"}
--        {"type":"announce","text":"only admins may"}
--        Do the same as bob (password "baker"), a user without the role admin.
--
-- A token is a JWT signed with a key that only this server knows. Clients send it in the header
-- Authorization; browsers, whose WebSocket cannot set headers, as ?token=. `validate` checks it
-- before the server answers the handshake: without a valid token no connection is made.

local tw = require "tidewire"

local key =
  os.getenv("AUTH_KEY") or error("set AUTH_KEY to a secret: AUTH_KEY=$(openssl rand -hex 32)", 0)

-- A real app asks its database, which keeps hashes of passwords.
local users = {
  ada = { password = "lovelace", role = "admin" },
  bob = { password = "baker", role = "user" },
}

local permissions = {
  admin = { chat = true, announce = true },
  user = { chat = true },
}

local verify_options = { key = key, algorithms = "HS256", require = { "exp", "sub" } }

local function token_of(request)
  local header = request.headers.authorization or ""
  return header:match("^[Bb]earer +(.+)$") or request.query.token
end

local chat = {
  codec = "json",

  validate = function(request)
    local claims, why = tw.jwt.verify(token_of(request), verify_options)
    if not claims then
      return nil, 401, why -- the message in the body: "no token", "token expired", …
    end
    return { username = claims.sub, role = claims.role } -- become conn.username and conn.role
  end,

  handle_message = function(conn, message)
    local kind = type(message) == "table" and message.type
    local allowed = permissions[conn.role] or {}
    if not allowed[kind] then
      conn:send({ type = "error", error = "Insufficient permissions", code = "PERMISSION_DENIED" })
      return
    end
    conn:send({ type = kind, from = conn.username, role = conn.role, text = message.text })
  end,
}

local function login(request)
  local asked = tw.json.decode(request.body or "")
  local user = type(asked) == "table" and users[asked.name]
  if not user or user.password ~= asked.password then
    return 401, { error = "wrong name or password" }
  end
  local claims = { sub = asked.name, role = user.role }
  return {
    body = { token = tw.jwt.sign(claims, { key = key, algorithm = "HS256", expires_in = 3600 }) },
  }
end

return {
  endpoints = { ["/chat"] = chat },
  http = { ["POST /login"] = login },
}
