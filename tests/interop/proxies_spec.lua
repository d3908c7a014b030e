-- proxies_spec.lua -- the configurations of docs/proxies.md, each in its proxy, between the tests'
-- client and the real program. Without a proxy's program its tests are skipped with the reason.

local certificates = require "support.certificates"
local chromium = require "browser.chromium"
local client = require "support.client"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"
local uv = require "luv"

-- The first block of docs/proxies.md in a language.
local function snippet(language)
  local text = assert(process.read_file("docs/proxies.md"))
  return (assert(text:match("\n```" .. language .. "\n(.-\n)```\n"),
    "docs/proxies.md has no block of " .. language))
end

-- An app that tells what has come through the proxy, and which client it takes it from.
local APP = [[
return {
  trusted_proxies = { "127.0.0.1" }, proxy_protocol = PROXY_PROTOCOL,
  endpoints = {
    ["/"] = {
      codec = "json", max_message_size = "8M", max_backlog = "16M",
      validate = function(request)
        if request.query.refuse then return nil, 401, "who are you?" end
        return true
      end,
      on_start = function(conn)
        local headers = conn.request.headers
        conn:send({
          client = conn.remote_address, secure = conn.secure,
          forwarded = headers["x-forwarded-for"],
          host = headers.host, protocol = headers["x-protocol"],
        })
      end,
      handle_message = function(conn, message)
        if message == "leave" then return conn:close(4002, "as you wish") end
        conn:send(message)
      end,
    },
  },
  http = { ["GET /page"] = function()
    return { headers = { ["Content-Type"] = "text/html" }, body = "<p>hello" }
  end },
}
]]

local function apache(text, folder, port)
  local lines = {
    "ServerRoot " .. folder, "PidFile " .. folder .. "/pid", "ErrorLog " .. folder .. "/error",
    "ServerName localhost", "Listen 127.0.0.1:" .. port, "User www-data", "Group www-data",
  }
  for _, name in ipairs({
    "mpm_event", "authz_core", "proxy", "proxy_http", "headers", "ssl", "http2",
  }) do
    lines[#lines + 1] = ("LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so")
      :format(name, name)
  end
  return table.concat(lines, "\n") .. "\n" .. text
end

local function nginx(text, folder)
  local lines =
    { "pid " .. folder .. "/pid; error_log stderr; daemon off; events {} http { access_log off;" }
  for _, kind in ipairs({ "client_body", "proxy", "fastcgi", "uwsgi", "scgi" }) do
    lines[#lines + 1] = ("%s_temp_path %s/%s;"):format(kind, folder, kind)
  end
  return table.concat(lines, "\n") .. "\n" .. text .. "}\n"
end

local function caddy(text, folder, port)
  text = text:gsub("example%.com {[^\n]*", ("http://localhost:%d {\n  bind 127.0.0.1"):format(port))
  return ("{\n  admin unix//%s/admin\n}\n"):format(folder) .. text
end

local function caddy_reload(_, folder)
  local result = process.run("caddy", {
    args = {
      "reload", "--force", "--adapter", "caddyfile", "--config", folder .. "/config",
      "--address", "unix//" .. folder .. "/admin",
    },
    environment = { HOME = folder },
  })
  assert.equal(0, result.code, result.stderr)
end

-- How each is started in the foreground: with the piece of the page in what a system has around it;
-- how it is reloaded, and whether live WebSockets stay then; how it appends to X-Forwarded-For; how
-- it speaks HTTP/2 with TLS.
local PROXIES = {
  {
    name = "nginx", block = "nginx", program = "nginx", wrap = nginx, stays = true,
    args = { "-e", "stderr", "-p", "FOLDER", "-c", "FOLDER/config" },
    reload = function(proxy) proxy:signal("sighup") end,
    append = function(text) return (text:gsub("%$remote_addr", "$proxy_add_x_forwarded_for")) end,
    scheme = function(text)
      return (text:gsub("    proxy_read", "    proxy_set_header X-Forwarded-Proto https;\n%0"))
    end,
  },
  {
    name = "HAProxy", block = "haproxy", program = "haproxy", wrap = function(text) return text end,
    stays = true, args = { "-W", "-db", "-f", "FOLDER/config" },
    reload = function(proxy) proxy:signal("sigusr2") end,
    append = function(text)
      return (text:gsub("http%-request set%-header[^\n]*", "option forwardfor"))
    end,
    scheme = function(text)
      return (text:gsub("  http%-request", "  http-request set-header X-Forwarded-Proto https\n%0"))
    end,
    proxy_protocol = {
      ["version 1"] = function(text) return (text:gsub("app [^\n]*", "%0 send-proxy")) end,
      ["version 2"] = function(text) return (text:gsub("app [^\n]*", "%0 send-proxy-v2")) end,
      ["with TLVs"] = function(text)
        return (text:gsub("app [^\n]*",
          "%0 send-proxy-v2-ssl-cn proxy-v2-options unique-id,crc32c"))
      end,
      ["without reading the bytes"] = function(text)
        return (text:gsub("mode http", "mode tcp"):gsub("  http%-request[^\n]*\n", "")
          :gsub("app [^\n]*", "%0 send-proxy"))
      end,
    },
    secure = function(text, files)
      text = text:gsub("(:8443)[^\n]*", "%1 ssl crt " .. files.both .. " alpn h2,http/1.1")
      return (text:gsub("  default_backend",
        "  http-request set-header X-Protocol %%[fc_http_major]\n%0"))
    end,
  },
  {
    name = "Apache", block = "apache", program = "apache2", wrap = apache, stays = true,
    args = { "-DFOREGROUND", "-f", "FOLDER/config" },
    reload = function(proxy) proxy:signal("sigusr1") end,
    append = function(text) return (text:gsub("RequestHeader unset[^\n]*", "")) end,
    secure = function(text, files)
      return (text:gsub("</VirtualHost>", table.concat({
        "SSLEngine on", "SSLCertificateFile " .. files.certificate,
        "SSLCertificateKeyFile " .. files.key, "Protocols h2 http/1.1", "H2WebSockets on",
        'RequestHeader set X-Protocol "expr=%%{SERVER_PROTOCOL}"', "%0",
      }, "\n")))
    end,
  },
  {
    name = "Caddy", block = "caddyfile", program = "caddy", wrap = caddy, stays = false,
    args = { "run", "--adapter", "caddyfile", "--config", "FOLDER/config" },
    reload = caddy_reload,
  },
}

local function free_port()
  local socket = uv.new_tcp()
  assert(socket:bind("127.0.0.1", 0))
  local port = socket:getsockname().port
  socket:close()
  return port
end

describe("docs/proxies.md", function()
  it("has a piece of configuration for each proxy", function()
    for _, kind in ipairs(PROXIES) do
      assert.is_truthy(snippet(kind.block):find(":8080", 1, true), kind.name)
    end
  end)

end)

for _, kind in ipairs(PROXIES) do
  describe("behind " .. kind.name .. " a WebSocket", function()
    if not process.find(kind.program) then
      pending(("needs %s (scripts/install proxies)"):format(kind.program), function()
      end)
      return
    end

    local app, folder, proxy, port

    -- Starts the proxy before the app, with the page's piece of configuration after `change`.
    local function start_proxy(change)
      folder = process.make_directory()
      assert(uv.fs_chmod(folder, tonumber("755", 8))) -- some give up root
      port = free_port()
      local text = change and change(snippet(kind.block)) or snippet(kind.block)
      text = text:gsub(":8443", ":" .. port):gsub(":8080", ":" .. app.addresses[1].port)
      process.write_file(folder .. "/config", kind.wrap(text, folder, port))
      local args = {}
      for index, argument in ipairs(kind.args) do args[index] = argument:gsub("FOLDER", folder) end
      proxy = process.start(process.find(kind.program), {
        args = args,
        environment = { XDG_DATA_HOME = folder, XDG_CONFIG_HOME = folder, HOME = folder },
        stdout = folder .. "/stdout",
        stderr = folder .. "/stderr",
      })
      local function is_there()
        local socket = stream.connect({ host = "127.0.0.1", port = port })
        return socket or proxy.exit_code
      end
      local deadline = loop.now() + loop.patience
      repeat loop.pass(0.02) until is_there() or loop.now() > deadline
      assert(not proxy.exit_code, process.read_file(folder .. "/stderr"))
      stream.close_all()
    end

    local function start_app(proxy_protocol)
      app = server.start({ app = (APP:gsub("PROXY_PROTOCOL", tostring(proxy_protocol))) })
    end

    after_each(function()
      stream.close_all() -- Apache waits for them for ten seconds
      app:stop()
      proxy:signal("sigterm")
      if not proxy:wait_exit() then proxy:signal("sigkill") end
      proxy:wait_exit()
      process.remove_directory(folder)
    end)

    local function connect(query)
      return client.connect(("ws://127.0.0.1:%d/%s"):format(port, query or ""), {
        from = "127.0.0.5",
        headers = { ["X-Forwarded-For"] = "203.0.113.66" }, -- which is not true
      })
    end

    -- A connection, and the app's message about it.
    local function meet()
      local ada = assert(connect())
      return ada, (assert(ada:receive()))
    end

    it("passes on handshakes, long messages, refusals and close codes", function()
      start_app(false)
      start_proxy()
      local ada, message = meet()
      assert.equal('"127.0.0.5"', message:match('"client":(".-")'))
      -- the client's own header is removed
      assert.equal('"127.0.0.5"', message:match('"forwarded":(".-")'))
      assert.equal('"localhost"', message:match('"host":(".-")'))
      local long = '"' .. ("0123456789"):rep(300000) .. '"'
      assert.is_true(long == ada:ask(long))
      ada:send_text('"leave"')
      assert.same({ 4002, "as you wish" }, { ada:wait_closed() })
      local _, status, _, body = connect("?refuse=1")
      assert.equal(401, status)
      assert.is_truthy(body:find("who are you?", 1, true))
    end)

    if kind.append then
      it("comes from the last element of X-Forwarded-For where the proxy appends", function()
        start_app(false)
        start_proxy(kind.append)
        local _, message = meet()
        assert.equal('"127.0.0.5"', message:match('"client":(".-")'))
        assert.equal('"203.0.113.66, 127.0.0.5"', message:match('"forwarded":(".-")'))
      end)
    end

    for name, change in pairs(kind.proxy_protocol or {}) do
      it("comes behind a PROXY header: " .. name, function()
        start_app(true)
        start_proxy(change)
        local ada, message = meet()
        assert.equal('"127.0.0.5"', message:match('"client":(".-")'))
        assert.equal('"hello"', (ada:ask('"hello"')))
      end)
    end

    if kind.scheme then
      it("is secure where the proxy says so", function()
        start_app(false)
        start_proxy(kind.scheme)
        local _, message = meet()
        assert.equal("true", message:match('"secure":(%l+)'))
      end)
    end

    it("is closed with 1001 when the program drains", function()
      start_app(false)
      start_proxy()
      local ada = meet()
      app:signal("sigterm")
      assert.equal(1001, (ada:wait_closed()))
      assert.equal(0, app.process:wait_exit())
    end)

    local outcome = kind.stays and "stays" or "ends with 1001"
    it(outcome .. " when the proxy is reloaded", function()
      start_app(false)
      start_proxy()
      local ada = meet()
      kind.reload(proxy, folder)
      if kind.stays then
        for number = 1, 20 do -- while the proxy changes over
          assert.equal(tostring(number), (ada:ask(tostring(number))))
          loop.pass(0.05)
        end
        assert.equal('"hello"', (select(1, meet()):ask('"hello"')))
        ada:close(1000)
      else
        assert.equal(1001, (ada:wait_closed()))
        local bob = meet()
        assert.equal('"hello"', (bob:ask('"hello"')))
      end
    end)

    if kind.secure then
      local it_or_pending = chromium.find() and it or pending
      it_or_pending("of a browser comes over HTTP/2 (RFC 8441)", function()
        local certificate, key = certificates.shared()
        start_app(false)
        start_proxy(function(text)
          local both = folder .. "/both.pem"
          process.write_file(both, process.read_file(certificate) .. process.read_file(key))
          return kind.secure(text, { certificate = certificate, key = key, both = both })
        end)
        local browser <close> = chromium.start()
        browser:open(("https://127.0.0.1:%d/page"):format(port))
        assert.equal("h2",
          browser:eval("performance.getEntriesByType('navigation')[0].nextHopProtocol"))
        local message = browser:eval([[new Promise((resolve) => {
          const socket = new WebSocket(`wss://${location.host}/`);
          socket.onopen = () => socket.send('"hello"'); // Apache may hold back what comes before
          socket.onmessage = (event) => event.data.includes("protocol") && resolve(event.data);
          socket.onclose = (event) => resolve(`closed with ${event.code}`);
        })]])
        assert.is_truthy(message:find('"protocol":"[^"]*2'), message)
      end)
    end
  end)
end
