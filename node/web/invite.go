package web

import (
	"crypto/sha256"
	"strconv"
	"strings"

	"github.com/carecircle/carecircle/circle/machine"
	"github.com/carecircle/carecircle/circle/member"
)

// makeLink invites somebody new, or makes a sign-in link for a member. The link's secret and end are drawn
// when the form is shown and come back with it, so that sending the form twice makes one link and shows it
// again. The answer is the page itself and not a redirect: the secret must not stand in an address.
func (p *Pages) makeLink(v *visit, b *coordinateBody) (string, error) {
	in := &b.Invite
	in.Name = v.typed("invite-name")
	secret, person := v.typed("secret"), v.typed("invite-person")
	until, err := strconv.ParseInt(v.typed("until"), 10, 64)
	if err != nil || len(secret) < 32 {
		return "", machine.Refuse("bad_request", "This form was not complete. Please send it once more.")
	}
	link := machine.Hash(sha256.Sum256([]byte(secret)))
	if person == "" {
		_, err = do[member.Made](v, v.by, v.typed("id"), "member.invite", member.Invite{
			Name: machine.Text("", in.Name), Hats: v.r.PostForm["invite-hat"], Link: link, Until: until,
		})
		in.LinkFor = in.Name
	} else {
		_, err = do[machine.None](v, v.by, v.typed("id"), "member.link", member.Link{
			Person: person, Link: link, Until: until,
		})
		in.LinkFor = "them"
	}
	if err != nil {
		return "", err
	}
	if person != "" {
		if in.LinkFor, err = nameOf(v, person); err != nil {
			return "", err
		}
	}
	in.Link = p.origin + "/enter/" + strings.ToLower(secret)
	in.LinkEnds = moment(until).Format("2 January")
	in.Name = ""
	v.r.PostForm.Del("invite-person")
	v.r.PostForm.Del("invite-hat")
	return "", nil
}

func nameOf(v *visit, person string) (string, error) {
	everyone, err := everyone(v)
	if err != nil {
		return "", err
	}
	for _, o := range everyone {
		if o.Value == person {
			return o.Text, nil
		}
	}
	return "them", nil
}
