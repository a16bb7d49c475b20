package api

import (
	"crypto/subtle"
	"net/http"
	"time"

	"bake/internal/lazyregexp"
)

// A Caller is whom an access key belongs to.
type Caller struct {
	Account string
	ARN     string
	UserID  string
	Secret  string
	Token   string    // session token; empty for a user's own key
	Expires time.Time // zero: never
	Off     bool      // the key was made inactive
}

// Keys knows the access keys that the sandbox gave out. A call with one of
// them is verified as AWS does; one with another key is the account's that
// twelve digits as a key id name, or the default account's.
type Keys interface {
	Caller(accessKey string) (Caller, bool)
}

var (
	accountForm = lazyregexp.New(`^[0-9]{12}$`)
	// sessionForm is the key id of temporary credentials, which STS alone can give.
	sessionForm = lazyregexp.New(`^ASIA[A-Z0-9]{12,}$`)
)

// A refusal is why a request is not let in; each protocol has its own codes for it.
type refusal int

const (
	noSignature refusal = iota
	unknownKey
	wrongSignature
	tokenExpired
	requestExpired
	requestEarly
)

// identify fills in who calls, and verifies it where that can be done.
func (s *Server) identify(r *http.Request, body []byte, sig *signature, call *Call, unsigned bool) error {
	call.Account = s.world.Account
	if sig == nil {
		if unsigned {
			call.Caller = "anonymous"
			return nil
		}
		return refuse(call, noSignature, "")
	}
	call.AccessKey = sig.key
	if err := s.inTime(sig, call); err != nil {
		return err
	}
	var caller Caller
	known := false
	if s.Keys != nil {
		caller, known = s.Keys.Caller(sig.key)
	}
	switch {
	case !known && sessionForm.MatchString(sig.key):
		return refuse(call, unknownKey, "")
	case !known:
		s.anybody(sig.key, call)
		return nil
	case caller.Off, subtle.ConstantTimeCompare([]byte(caller.Token), []byte(sig.token)) != 1:
		return refuse(call, unknownKey, "")
	case !caller.Expires.IsZero() && s.world.Now().After(caller.Expires):
		return refuse(call, tokenExpired, "")
	case !sig.fits(r, body, caller.Secret):
		return refuse(call, wrongSignature, "")
	}
	call.Account, call.Caller, call.UserID = caller.Account, caller.ARN, caller.UserID
	return nil
}

// anybody is a caller whose key the sandbox does not know.
func (s *Server) anybody(key string, call *Call) {
	if accountForm.MatchString(key) {
		call.Account = key
	}
	call.Caller, call.UserID = "arn:aws:iam::"+call.Account+":user/sandbox", "AIDASANDBOX0000000000"
}

// inTime wants the request's clock to be right: the real one, since it is the client's.
func (s *Server) inTime(sig *signature, call *Call) error {
	now := time.Now().UTC()
	stamp := func(t time.Time) string { return t.Format(timeForm) }
	switch {
	case sig.query && now.After(sig.time.Add(sig.lasts)):
		return refuse(call, requestExpired, stamp(sig.time)+" is now earlier than "+stamp(now.Add(-sig.lasts)))
	case !sig.query && now.Sub(sig.time) > maxSkew:
		return refuse(call, requestExpired, stamp(sig.time)+" is now earlier than "+stamp(now.Add(-maxSkew))+" ("+stamp(now)+" - 5 min.)")
	case sig.time.Sub(now) > maxSkew:
		return refuse(call, requestEarly, stamp(sig.time)+" is still later than "+stamp(now.Add(maxSkew))+" ("+stamp(now)+" + 5 min.)")
	}
	return nil
}

const calculated = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."

// refuse words a refusal as the call's protocol does.
func refuse(call *Call, why refusal, detail string) *Error {
	code, message := refusals(call.protocol, why)
	if detail != "" && call.protocol != EC2 {
		message += detail
	}
	status := http.StatusForbidden
	switch {
	case call.protocol == EC2 && (why == wrongSignature || why == unknownKey):
		status = http.StatusUnauthorized
	case call.protocol == EC2, call.protocol == JSON, call.protocol == CBOR:
		status = http.StatusBadRequest
	}
	return &Error{Code: code, Message: message, Status: status}
}

func refusals(p Protocol, why refusal) (code, message string) {
	switch p {
	case EC2:
		switch why {
		case noSignature:
			return "MissingAuthenticationToken", "Request is missing Authentication Token"
		case tokenExpired, requestExpired, requestEarly:
			return "RequestExpired", "Request has expired."
		}
		return "AuthFailure", "AWS was not able to validate the provided access credentials"
	case Query:
		return [...]string{"MissingAuthenticationToken", "InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken", "SignatureDoesNotMatch", "SignatureDoesNotMatch"}[why], refusalText[why]
	}
	return [...]string{"MissingAuthenticationTokenException", "UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException", "InvalidSignatureException", "InvalidSignatureException"}[why], refusalText[why]
}

var refusalText = [...]string{
	noSignature:    "Request is missing Authentication Token",
	unknownKey:     "The security token included in the request is invalid.",
	wrongSignature: calculated,
	tokenExpired:   "The security token included in the request is expired",
	requestExpired: "Signature expired: ",
	requestEarly:   "Signature not yet current: ",
}
