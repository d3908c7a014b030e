-- admin_spec.lua -- the admin address: health, readiness, metrics for Prometheus, statistics; and
-- that it is off by default.

local cjson = require "cjson"
local http = require "support.http"
local loop = require "support.loop"
local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

local APP = [[
return {
  ADMIN
  endpoints = {
    ["/"] = {
      handle_message = function(conn, message)
        if message == "throw" then error("on request") end
        conn:send(message)
      end,
      on_error = function() return false end,
    },
  },
}
]]

-- Reads metrics as Prometheus does and prints them as JSON: { name = { {labels, value}, … } }.
local PARSER = [[
import json, sys
from prometheus_client.parser import text_string_to_metric_families
families = {}
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation, family.name + " has no help"
    assert family.type in ("counter", "gauge", "histogram", "summary"), family.name + " has no type"
    for sample in family.samples:
        families.setdefault(sample.name, []).append([sample.labels, sample.value])
json.dump(families, sys.stdout)
]]

describe("the admin address", function()
  local app

  lazy_setup(function()
    app = server.start({ app = (APP:gsub("ADMIN", "")), options = { "--admin", "127.0.0.1:0" } })
  end)
  lazy_teardown(function() app:stop() end)
  after_each(stream.close_all)

  local function get(path)
    local response, problem = http.request(assert(app.admin, "no admin address in the log"), path)
    return response or error(problem)
  end

  local function metrics()
    local response = get("/metrics")
    assert.equal(200, response.status)
    assert.is_truthy(response.headers["content-type"]:find("^text/plain"))
    local folder = process.make_directory()
    process.write_file(folder .. "/metrics", response.body)
    process.write_file(folder .. "/parser.py", PARSER)
    local result = process.run("/bin/sh", {
      args = { "-c", "exec /usr/bin/python3 parser.py < metrics" },
      directory = folder,
    })
    process.remove_directory(folder)
    assert.equal(0, result.code, result.stderr)
    return cjson.decode(result.stdout)
  end

  it("says that the server lives and is ready", function()
    assert.equal(200, get("/healthz").status)
    assert.equal(200, get("/readyz").status)
  end)

  it("gives metrics that a real parser reads", function()
    local ada = app:connect("/")
    assert.equal("count me", (ada:ask("count me")))
    local found = metrics()
    local count = 0
    for name, samples in pairs(found) do
      assert.is_truthy(name:find("^tidewire_") or name:find("^process_"), name)
      count = count + #samples
    end
    assert.is_true(count >= 5)
  end)

  it("counts: metrics and statistics move with what happens", function()
    local before, before_metrics = cjson.decode(get("/stats").body), metrics()
    local ada, bob = app:connect("/"), app:connect("/")
    for _ = 1, 10 do ada:ask("hello") end
    ada:send_text("throw")
    assert.equal("after", (ada:ask("after")))
    bob:close(1000)
    local after, after_metrics = cjson.decode(get("/stats").body), metrics()
    assert.equal(2, after.connections_opened - before.connections_opened)
    assert.is_true(after.total_connections >= 1) -- those open now
    assert.equal(1, after.script_errors - before.script_errors)
    local grown = 0
    for name, samples in pairs(after_metrics) do
      if before_metrics[name] and samples[1][2] > before_metrics[name][1][2] then
        grown = grown + 1
      end
    end
    assert.is_true(grown >= 3, "only " .. grown .. " metrics grew")
  end)

  it("gives statistics as JSON, with the names of tw.stats()", function()
    local response = get("/stats")
    assert.equal(200, response.status)
    assert.is_truthy(response.headers["content-type"]:find("^application/json"))
    local stats = cjson.decode(response.body)
    for _, name in ipairs({
      "total_connections", "max_connections", "connections", "script_errors", "uptime",
    }) do
      assert.is_number(stats[name], name)
    end
  end)

  it("is no place for sockets or for the app's routes", function()
    assert.equal(404, get("/nowhere").status)
    assert.equal(405, http.request(app.admin, { method = "POST", path = "/metrics" }).status)
    local request = require("support.client").handshake("/")
    local response = http.raw(app.admin, request)
    assert.not_equal(101, response.status)
    assert.equal(404, app:http("/metrics").status)
    assert.equal(404, app:http("/healthz").status)
  end)

  it("has a limit of sockets, which leaves descriptors for the app", function()
    local function status_of() return http.request(app.admin, "/healthz").status end
    local refused = loop.ask_until(function()
      stream.close_all()
      for _ = 1, 300 do stream.connect(app.admin) end
      return status_of()
    end, 503)
    assert.equal(503, refused)
    local ada = app:connect("/")
    assert.equal("still", (ada:ask("still")))
    stream.close_all()
    assert.equal(200, loop.ask_until(status_of, 200))
  end)
end)

describe("a request to the admin address", function()
  after_each(stream.close_all)

  local function start(lines, options)
    options = options or {}
    options.app = APP:gsub("ADMIN", lines)
    options.options = options.options or { "--admin", "127.0.0.1:0" }
    return server.start(options)
  end

  local function ask(app, ...)
    return assert(http.raw(app.admin, table.concat({ "GET /metrics HTTP/1.1", ... }, "\r\n")
      .. "\r\nConnection: close\r\n\r\n"))
  end

  it("must name it by an address, as localhost or by a name of admin_hosts", function()
    local app <close> = start('admin_hosts = { "Metrics.internal" },')
    for _, host in ipairs({
      "127.0.0.1", "127.0.0.1:9090", "[::1]:9090", "192.0.2.1", "localhost", "LOCALHOST:80",
      "metrics.internal:9090", "METRICS.INTERNAL.",
    }) do
      assert.equal(200, ask(app, "Host: " .. host).status, host)
    end
    for _, host in ipairs({
      "evil.example", "evil.example:9090", "localhost.evil.example", "x.metrics.internal",
    }) do
      local response = ask(app, "Host: " .. host)
      assert.equal(403, response.status, host)
      local name = host:match("^[^:]+")
      assert.is_truthy(response.body:find(([[admin_hosts = { \"%s\" }]]):format(name), 1, true),
        response.body)
      assert.is_nil(response.body:find("tidewire_", 1, true))
    end
    assert.equal(200, assert(http.raw(app.admin, "GET /healthz HTTP/1.0\r\n\r\n")).status)
    local lines = app:log_lines("warn .*event=admin_hosts")
    assert.equal(1, #lines)
    assert.is_truthy(lines[1]:find("evil.example", 1, true), lines[1])
  end)

  it("is not answered for a page of another origin", function()
    local app <close> = start("")
    local host = "Host: 127.0.0.1:" .. app.admin.port
    local own = "Origin: http://127.0.0.1:" .. app.admin.port
    assert.equal(200, ask(app, host, own).status)
    assert.equal(200, ask(app, host, "Sec-Fetch-Site: none").status)
    assert.equal(200, ask(app, host, "Sec-Fetch-Site: same-origin").status)
    for _, header in ipairs({
      "Origin: https://evil.example", "Origin: null", "Origin: http://127.0.0.1:1",
      "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site",
    }) do
      local response = ask(app, host, header)
      assert.equal(403, response.status, header)
      assert.is_truthy(response.body:find("no page of another origin", 1, true))
      for name in pairs(response.headers) do
        assert.is_nil(name:find("^access%-control"), name)
      end
    end
    local preflight = assert(http.raw(app.admin, "OPTIONS /stats HTTP/1.1\r\n" .. host
      .. "\r\nOrigin: https://evil.example\r\nAccess-Control-Request-Method: GET\r\n"
      .. "Connection: close\r\n\r\n"))
    assert.equal(403, preflight.status)
  end)

  it("has an answer that no other page can use", function()
    local app <close> = start("")
    for _, path in ipairs({ "/healthz", "/readyz", "/metrics", "/stats", "/nothing" }) do
      local headers = http.request(app.admin, path).headers
      assert.equal("nosniff", headers["x-content-type-options"])
      assert.equal("DENY", headers["x-frame-options"])
      assert.equal("same-origin", headers["cross-origin-resource-policy"])
      assert.equal("no-store", headers["cache-control"])
    end
  end)

  it("may have any host with a star, and over a Unix socket", function()
    do
      local app <close> = start('admin_hosts = "*",')
      assert.equal(200, ask(app, "Host: anything.example").status)
    end
    local app <close> = start("", { options = { "--admin", "unix:admin.sock" } })
    app.admin = { path = app.directory .. "/admin.sock" }
    assert.equal(200, ask(app, "Host: anything.example").status)
    assert.equal(403, ask(app, "Host: anything.example", "Sec-Fetch-Site: cross-site").status)
  end)

  it("is judged by admin_hosts of the command line, the environment and the last reload", function()
    do
      local app <close> = start('admin_hosts = "app.example",',
        { options = { "--admin", "127.0.0.1:0", "--admin-hosts", "a.example, b.example" } })
      assert.equal(200, ask(app, "Host: b.example").status)
      assert.equal(403, ask(app, "Host: app.example").status)
    end
    do
      local app <close> = start("", { environment = { TIDEWIRE_ADMIN_HOSTS = "c.example" } })
      assert.equal(200, ask(app, "Host: c.example").status)
    end
    local app <close> = start("")
    assert.equal(403, ask(app, "Host: d.example").status)
    process.write_file(app.directory .. "/app.lua",
      (APP:gsub("ADMIN", 'admin_hosts = { "d.example" },')))
    app:signal("sighup")
    assert.is_truthy(app:wait_for_log("event=reloaded"))
    assert.equal(200, ask(app, "Host: d.example").status)
  end)

  it("is not hindered by names that are none: the start ends", function()
    local code, log = server.launch_to_end({
      app = APP:gsub("ADMIN", 'admin_hosts = { "http://a.example", "a.example:80", "" },'),
    })
    assert.equal(2, code)
    for _, part in ipairs({ "without the scheme", "without the port", "expected a host name" }) do
      assert.is_truthy(log:find(part, 1, true), log)
    end
  end)
end)

describe("without an admin address", function()
  it("there is none", function()
    local app <close> = server.start({ app = (APP:gsub("ADMIN", "")) })
    assert.is_nil(app.admin)
    local found = app.process:listening()
    assert.equal(app.workers, #found) -- each worker has a socket, all with one address
    for _, each in ipairs(found) do assert.equal(app.addresses[1].port, each.port) end
    assert.equal(404, app:http("/stats").status)
  end)
end)

describe("an admin address in the app", function()
  it("is as good as one on the command line", function()
    local app <close> = server.start({ app = (APP:gsub("ADMIN", 'admin = "127.0.0.1:0",')) })
    assert.is_truthy(app.admin)
    assert.equal(200, http.request(app.admin, "/healthz").status)
  end)

  it("that is no address is refused at the start", function()
    local app = server.launch({ app = (APP:gsub("ADMIN", 'admin = "everywhere",')) })
    local code = app.process:wait_exit()
    local log = app:log()
    app:kill()
    assert.equal(2, code)
    assert.is_truthy(log:find("everywhere", 1, true), log)
  end)
end)
