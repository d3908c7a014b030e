-- tls_client.lua -- Python's ssl module as a client of TLS: requests over connections that may have
-- a server name, a certificate and a session. Knows no server.
--
-- For what LuaSec cannot do or does not tell. OpenSSL's own program would do as well, but mixes
-- what it prints with what it receives.

local cjson = require "cjson"
local process = require "support.process"

local tls_client = {}

local SCRIPT = [[
import json, socket, ssl, sys
options = json.loads(sys.argv[1])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.load_verify_locations(options["authority"])
if options.get("maximum") == "1.2": context.maximum_version = ssl.TLSVersion.TLSv1_2
if options.get("ciphers"): context.set_ciphers(options["ciphers"])
if options.get("alpn"): context.set_alpn_protocols(options["alpn"])
if options.get("certificate"): context.load_cert_chain(options["certificate"], options["key"])
session, results = None, []
for i in range(options["times"]):
    result = {}
    results.append(result)
    try:
        plain = socket.create_connection(("127.0.0.1", options["port"]), 60)
        secured = context.wrap_socket(plain, server_hostname=options.get("name") or None,
                                      session=session)
        secured.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        while True:
            more = secured.recv(65536)
            if not more: break
            answer += more
        subject = dict(pair[0] for pair in secured.getpeercert()["subject"])
        result.update(subject=subject.get("commonName"), reused=secured.session_reused,
                      version=secured.version(), cipher=secured.cipher()[0])
        head, _, body = answer.partition(b"\r\n\r\n")
        result["status"] = int(head.split()[1])
        result["body"] = body.decode()
        session = secured.session
        secured.close()
    except (ssl.SSLError, OSError, IndexError) as error:
        result["error"] = str(error) or repr(error)
print(json.dumps(results))
]]

---@class support.tls_result
---@field subject string?  the common name of the server's certificate
---@field reused boolean?  the session was resumed
---@field version string?
---@field cipher string?
---@field status integer?
---@field body string?
---@field json any         the body, where it is JSON
---@field error string?    what went wrong

local function read(text)
  local results = cjson.decode(text)
  for _, result in ipairs(results) do
    local is_json, json = pcall(cjson.decode, result.body or "")
    result.json = is_json and type(json) == "table" and json or nil
  end
  return results
end

--- Asks for "/" once, or `times` times, each with the session of the one before.
---@param app support.server
---@param options { authority: string, name: string?, certificate: string?, key: string?,
---  maximum: "1.2"?, ciphers: string?, alpn: string[]?, times: integer? }
---@return support.tls_result first
---@return support.tls_result[] all
function tls_client.get(app, options)
  options.port, options.times = app.addresses[1].port, options.times or 1
  local said = process.run("/usr/bin/python3", { args = { "-c", SCRIPT, cjson.encode(options) } })
  assert(said.code == 0, said.stderr)
  local results = read(said.stdout)
  return results[1], results
end

return tls_client
