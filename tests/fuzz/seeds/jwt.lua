-- jwt.lua -- seeds of fuzz_jwt: the behaviour, then a token, claims, or base64url.

local TOKEN, CLAIMS, BASE64 = "\0", "\1", "\2"

return {
  -- {"alg":"HS256","typ":"JWT"} with {"sub":"ada"} and a signature of zeros
  token = TOKEN .. "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhZGEifQ." .. ("A"):rep(43),
  none = TOKEN .. "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.AA",
  claims = CLAIMS .. '{"sub":"ada","iss":"me","aud":["chat"],"exp":4102444800,"nbf":0,"iat":1}',
  expired = CLAIMS .. '{"sub":"ada","iss":"me","aud":"game","exp":1}',
  odd = CLAIMS .. '{"sub":null,"iss":["me"],"aud":{"a":1},"exp":"soon","nbf":1e400}',
  list = CLAIMS .. '["sub"]',
  base64 = BASE64 .. "SGVsbG8",
  base64_all = BASE64 .. "-_-_AAAA",
}
