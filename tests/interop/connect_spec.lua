-- connect_spec.lua -- tw.connect against WebSocket servers of other makes: Python's `websockets`,
-- aiohttp, tornado and wsproto, libsoup, Node's `ws`, Perl's Mojolicious; and over TLS through
-- nginx and HAProxy. connect_client.lua has the tests, and runs in the real program. Servers whose
-- library is missing are skipped (scripts/install servers).

local certificates = require "support.certificates"
local cjson = require "cjson"
local loop = require "support.loop"
local node = require "support.node"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"
local uv = require "luv"

local CLIENT = uv.cwd() .. "/tests/interop/connect_client.lua"
local PYTHON = "/usr/bin/python3" -- Debian's, which has Debian's packages

-- `probe` succeeds where the library is there. `cannot`: tests for which it has no function, or a
-- fault of its own.
local SERVERS = {
  { name = "websockets", program = PYTHON, probe = { "-c", "import websockets" } },
  {
    name = "aiohttp", program = PYTHON, probe = { "-c", "import aiohttp" }, cannot = "fragments",
  },
  {
    name = "tornado", program = PYTHON, probe = { "-c", "import tornado.websocket" },
    cannot = "fragments",
  },
  { name = "wsproto", program = PYTHON, probe = { "-c", "import wsproto" } },
  {
    name = "soup", program = PYTHON,
    probe = { "-c", "import gi; gi.require_version('Soup', '3.0')" },
    cannot = "fragments pings request_target", -- it decodes the path
  },
  { name = "ws", program = "node", probe = { "-e", "require('ws')" }, script = "node_server.js" },
  {
    name = "Mojolicious", program = "perl", probe = { "-e", "use Mojolicious 9" },
    script = "mojo_server.pl",
  },
}

local function find(program)
  return program:find("^/") and uv.fs_access(program, "X") and program or process.find(program)
end

local function is_there(kind)
  return find(kind.program) ~= nil
    and process.run(kind.program, { args = kind.probe, environment = node.environment }).code == 0
end

-- The configurations of proxies that add TLS.
local NGINX = [[
pid FOLDER/pid; error_log stderr; daemon off; events {}
http {
  access_log off;
  client_body_temp_path FOLDER/a; proxy_temp_path FOLDER/b; fastcgi_temp_path FOLDER/c;
  uwsgi_temp_path FOLDER/d; scgi_temp_path FOLDER/e;
  server {
    listen 127.0.0.1:PORT ssl;
    ssl_certificate FOLDER/good.pem; ssl_certificate_key FOLDER/good.key;
    location / {
      proxy_pass http://UPSTREAM; proxy_http_version 1.1; proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
    }
  }
}
]]
local HAPROXY = [[
defaults
  mode http
  timeout connect 10s
  timeout client 60s
  timeout server 60s
  timeout tunnel 60s
frontend front
  bind 127.0.0.1:PORT ssl crt FOLDER/both.pem alpn h2,http/1.1
  default_backend back
backend back
  server upstream UPSTREAM
]]
local PROXIES = {
  { name = "nginx", text = NGINX, args = { "-e", "stderr", "-c", "FOLDER/config" } },
  { name = "haproxy", text = HAPROXY, args = { "-W", "-db", "-f", "FOLDER/config" } },
}

local function free_port()
  local socket = uv.new_tcp()
  assert(socket:bind("127.0.0.1", 0))
  local port = socket:getsockname().port
  socket:close()
  return port
end

describe("tw.connect", function()
  local peer, proxy, folder

  local function stop(child)
    if not child then return end
    child:signal("sigterm")
    if child:wait_exit() then return end
    child:signal("sigkill")
    child:wait_exit()
  end

  before_each(function() folder = process.make_directory() end)
  after_each(function()
    stop(proxy)
    stop(peer)
    peer, proxy = nil, nil
    process.remove_directory(folder)
  end)

  -- Starts the server of a kind. Returns its address for a URL.
  local function start(kind, host)
    local script = kind.script and "tests/interop/" .. kind.script
    peer = process.start(find(kind.program), {
      args = script and { script, host } or { "tests/interop/servers.py", kind.name, host },
      environment = node.environment,
      stdout = folder .. "/stdout",
      stderr = folder .. "/stderr",
    })
    local port = loop.wait_until(function()
      return (process.read_file(folder .. "/stdout") or ""):match("^(%d+)\n") or peer.exit_code
    end)
    if not port or peer.exit_code then
      error("no server: " .. (process.read_file(folder .. "/stderr") or ""))
    end
    return (host:find(":") and "[" .. host .. "]:" or host .. ":") .. port
  end

  -- Starts a proxy with TLS in front of a server. Returns its address.
  local function start_proxy(kind, address)
    assert(uv.fs_chmod(folder, tonumber("755", 8))) -- nginx gives up root
    local certificate, key = certificates.make_signed(folder, "good",
      certificates.make_authority(folder, "authority"))
    process.write_file(folder .. "/both.pem",
      process.read_file(certificate) .. process.read_file(key))
    local port = free_port()
    local values = { PORT = tostring(port), FOLDER = folder, UPSTREAM = address }
    process.write_file(folder .. "/config", (kind.text:gsub("%u%u+", values)))
    local args = {}
    for index, argument in ipairs(kind.args) do args[index] = argument:gsub("FOLDER", folder) end
    proxy = process.start(process.find(kind.name), {
      args = args, stdout = folder .. "/stdout", stderr = folder .. "/proxy",
    })
    assert(loop.wait_until(function()
      return stream.connect({ host = "127.0.0.1", port = port }) or proxy.exit_code
    end))
    assert(not proxy.exit_code, process.read_file(folder .. "/proxy"))
    stream.close_all()
    return "localhost:" .. port
  end

  local function passes(kind, url)
    local app <close> = server.start({ app_path = CLIENT })
    local authority = url:find("^wss:") and folder .. "/authority.pem" or nil
    local task = cjson.encode({ url = url, cannot = kind.cannot, authority = authority })
    assert.equal("ok", cjson.decode((app:connect():ask(task, 8 * loop.patience))))
    -- what connect_client.lua has closed with
    for _, close in ipairs({ "1000 done", "3000 Grüße", "4000 " .. ("x"):rep(123) }) do
      assert(loop.wait_until(function()
        return process.read_file(folder .. "/stdout"):find("\nclosed " .. close .. "\n", 1, true)
      end), "the server has not seen " .. close)
    end
  end

  for _, kind in ipairs(SERVERS) do
    local name = "gets along with " .. kind.name
    if is_there(kind) then
      it(name, function() passes(kind, "ws://" .. start(kind, "127.0.0.1") .. "/") end)
      it(name .. " at [::1]", function() passes(kind, "ws://" .. start(kind, "::1") .. "/") end)
    else
      pending(name .. ": it is not installed (scripts/install servers)", function()
      end)
    end
  end

  for _, kind in ipairs(PROXIES) do
    local name = ("gets along with %s over TLS, through %s"):format(SERVERS[1].name, kind.name)
    if process.find(kind.name) then
      it(name, function()
        passes(SERVERS[1], "wss://" .. start_proxy(kind, start(SERVERS[1], "127.0.0.1")) .. "/")
      end)
    else
      pending(name .. ": needs it (scripts/install proxies)", function()
      end)
    end
  end
end)
